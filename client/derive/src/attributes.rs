//! What `#[duet(…)]` says.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Expr, Ident, LitInt, LitStr, Result, Type};

/// Database of table names without one; the same as in `duet_client`.
const DEFAULT_DATABASE: &str = "default";

/// What the struct says.
pub(crate) struct Table {
    pub(crate) database: String,
    pub(crate) name: String,
}

impl Table {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Table> {
        let mut name: Option<LitStr> = None;
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("duet")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("table") {
                    name = Some(meta.value()?.parse()?);
                    return Ok(());
                }
                Err(meta.error("a row struct knows only `table = \"database.table\"`"))
            })?;
        }
        let Some(name) = name else {
            return Err(Error::new_spanned(&input.ident, "#[duet(table = \"database.table\")] is missing"));
        };
        let name = name.value();
        let (database, name) = name.split_once('.').unwrap_or((DEFAULT_DATABASE, &name));
        Ok(Table { database: database.to_owned(), name: name.to_owned() })
    }
}

/// What a field says.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) column_name: String,
    pub(crate) is_key: bool,
    pub(crate) is_partition_key: bool,
    rust_type: Type,
    length: Option<LitInt>,
    column_type: Option<Expr>,
}

impl Field {
    pub(crate) fn parse(field: &syn::Field) -> Result<Field> {
        let Some(ident) = field.ident.clone() else {
            return Err(Error::new_spanned(field, "the fields of a row have names"));
        };
        let name = ident.to_string();
        let mut parsed = Field {
            column_name: name.strip_prefix("r#").unwrap_or(&name).to_owned(),
            ident,
            is_key: false,
            is_partition_key: false,
            rust_type: field.ty.clone(),
            length: None,
            column_type: None,
        };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("duet")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("key") {
                    parsed.is_key = true;
                } else if meta.path.is_ident("partition_key") {
                    (parsed.is_key, parsed.is_partition_key) = (true, true);
                } else if meta.path.is_ident("rename") {
                    parsed.column_name = meta.value()?.parse::<LitStr>()?.value();
                } else if meta.path.is_ident("length") {
                    parsed.length = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("column_type") {
                    parsed.column_type = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error(
                        "a field knows `key`, `partition_key`, `rename = \"column\"`, `length = N` and `column_type = EXPRESSION`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(parsed)
    }

    /// The expression of the field's `RowField`.
    pub(crate) fn description(&self) -> TokenStream {
        let (column, rust_type, is_key) = (&self.column_name, &self.rust_type, self.is_key);
        let name = self.ident.to_string();
        let type_name = quote!(#rust_type).to_string().replace(' ', "");
        quote! {
            ::duet_client::RowField {
                name: #name,
                column: #column,
                type_name: #type_name,
                is_key: #is_key,
                is_nullable: <#rust_type as ::duet_client::ColumnValue>::NULLABLE,
                holds: <#rust_type as ::duet_client::ColumnValue>::holds,
            }
        }
    }

    /// The expression of the field's column.
    pub(crate) fn column(&self) -> TokenStream {
        let (name, rust_type) = (&self.column_name, &self.rust_type);
        let own_type = if self.is_key {
            quote!(<#rust_type as ::duet_client::ColumnValue>::KEY_COLUMN_TYPE)
        } else {
            quote!(<#rust_type as ::duet_client::ColumnValue>::COLUMN_TYPE)
        };
        let column_type = match (&self.column_type, &self.length) {
            (Some(column_type), _) => quote!(#column_type),
            (None, Some(length)) => quote!(::duet_client::with_length(#own_type, #length)),
            (None, None) => own_type,
        };
        quote! {{
            let column = ::duet_client::Column::new(#name, #column_type);
            if <#rust_type as ::duet_client::ColumnValue>::NULLABLE { column.nullable() } else { column }
        }}
    }
}
