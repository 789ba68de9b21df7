//! What `#[duet(…)]` says.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Error, Expr, Ident, LitInt, LitStr, Result, Token, Type};

/// Database of table names without one; the same as in `duet_client`.
const DEFAULT_DATABASE: &str = "default";

/// What the struct says.
pub(crate) struct Table {
    pub(crate) database: String,
    pub(crate) name: String,
    pub(crate) hash_only: bool,
}

impl Table {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Table> {
        let (mut name, mut hash_only): (Option<LitStr>, bool) = (None, false);
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("duet")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("table") {
                    name = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("hash_only") {
                    hash_only = true;
                } else {
                    return Err(meta.error("a row struct knows `table = \"database.table\"` and `hash_only`"));
                }
                Ok(())
            })?;
        }
        let Some(name) = name else {
            return Err(Error::new_spanned(&input.ident, "#[duet(table = \"database.table\")] is missing"));
        };
        let name = name.value();
        let (database, name) = name.split_once('.').unwrap_or((DEFAULT_DATABASE, &name));
        Ok(Table { database: database.to_owned(), name: name.to_owned(), hash_only })
    }
}

/// An index of which a field is a column.
pub(crate) struct FieldIndex {
    name: Option<String>,
    unique: bool,
}

impl FieldIndex {
    fn parse(meta: &ParseNestedMeta<'_>, unique: bool) -> Result<FieldIndex> {
        let named = meta.input.peek(Token![=]);
        let name = named.then(|| meta.value()?.parse::<LitStr>().map(|name| name.value())).transpose()?;
        Ok(FieldIndex { name, unique })
    }
}

/// The calls that add the indexes to a table builder, in the order in which the fields name them first.
pub(crate) fn indexes(fields: &[Field]) -> Result<Vec<TokenStream>> {
    struct Index<'a> {
        name: &'a str,
        unique: bool,
        columns: Vec<&'a str>,
    }
    let mut indexes: Vec<Index<'_>> = Vec::new();
    for field in fields {
        for of_field in &field.indexes {
            let (name, unique) = (of_field.name.as_deref().unwrap_or(&field.column_name), of_field.unique);
            match indexes.iter_mut().find(|index| index.name == name) {
                Some(index) if index.unique != unique => {
                    let message = format!("index \"{name}\" is both `index` and `unique`");
                    return Err(Error::new_spanned(&field.ident, message));
                }
                Some(index) => index.columns.push(&field.column_name),
                None => indexes.push(Index { name, unique, columns: vec![&field.column_name] }),
            }
        }
    }
    let call = |index: Index<'_>| {
        let (name, columns) = (index.name, index.columns);
        if index.unique {
            quote!(.unique_index(#name, &[#(#columns),*]))
        } else {
            quote!(.ordered_index(#name, &[#(#columns),*]))
        }
    };
    Ok(indexes.into_iter().map(call).collect())
}

/// What a field says.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) column_name: String,
    pub(crate) is_key: bool,
    pub(crate) is_partition_key: bool,
    indexes: Vec<FieldIndex>,
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
            indexes: Vec::new(),
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
                } else if meta.path.is_ident("index") || meta.path.is_ident("unique") {
                    parsed.indexes.push(FieldIndex::parse(&meta, meta.path.is_ident("unique"))?);
                } else if meta.path.is_ident("rename") {
                    parsed.column_name = meta.value()?.parse::<LitStr>()?.value();
                } else if meta.path.is_ident("length") {
                    parsed.length = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("column_type") {
                    parsed.column_type = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error(
                        "a field knows `key`, `partition_key`, `index`, `index = \"name\"`, `unique`, `unique = \"name\"`, `rename = \"column\"`, `length = N` and `column_type = EXPRESSION`",
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
