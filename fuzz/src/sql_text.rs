//! Texts of statements, from invented bytes: refused with one of MySQL's codes, or a syntax tree that can be written down.

use duet_gateway_wire::binary::text;
use duet_gateway_wire::parse::tokens;

/// What the front may say of a text.
const CODES: &[u16] = &[1_041, 1_064, 1_235, 1_396, 1_436, 1_524];

/// Reads the bytes as the text of statements, each as it is and with its literals taken out.
pub fn run(bytes: &[u8]) {
    let sql = match text(bytes) {
        Ok(sql) => sql,
        Err(error) => {
            assert!(error.code == 1_064 && std::str::from_utf8(bytes).is_err(), "{error}");
            return;
        }
    };
    let statements = match tokens(&sql) {
        Ok(statements) => statements,
        Err(error) => {
            assert!(CODES.contains(&error.code), "{error}");
            return;
        }
    };
    for statement in statements {
        assert!(!statement.tokens().is_empty());
        match statement.account_statement() {
            Ok(None) => {}
            // Without the passwords in it.
            Ok(Some(account)) => assert_eq!(format!("{account:?}"), "AccountStatement"),
            Err(error) => assert!(CODES.contains(&error.code), "{error}"),
        }
        let mut shared = statement.clone();
        shared.share();
        let mut again = statement.clone();
        again.share();
        assert_eq!(shared.shape, again.shape);
        assert_eq!(shared.literals.len(), again.literals.len());
        if !shared.shape.is_empty() {
            assert_eq!(shared.parameters, shared.literals.len());
        }
        for tokens in [statement, shared] {
            match tokens.parse() {
                Ok(tree) => drop(tree.to_string()),
                Err(error) => assert!(CODES.contains(&error.code), "{error}"),
            }
        }
    }
}
