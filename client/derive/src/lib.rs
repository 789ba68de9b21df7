//! `derive(Row)`: makes a struct a row of a table. Its attributes are described at `duet_client::TableRow`.

mod attributes;

use attributes::{Field, Table};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result, parse_macro_input};

/// Implements `duet_client::TableRow` for a struct with named fields.
#[proc_macro_derive(Row, attributes(duet))]
pub fn derive_row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn fields_of(input: &DeriveInput) -> Result<Vec<Field>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only a struct can be a row"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "the fields of a row have names"));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a row has no generic parameters"));
    }
    let fields: Vec<Field> = named.named.iter().map(Field::parse).collect::<Result<_>>()?;
    if fields.iter().all(|field| !field.is_key) {
        return Err(Error::new_spanned(&input.ident, "no field is marked #[duet(key)]"));
    }
    Ok(fields)
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let table = Table::parse(input)?;
    let fields = fields_of(input)?;
    let name = &input.ident;
    let (database, table_name) = (&table.database, &table.name);
    let columns = fields.iter().map(Field::column);
    let names = fields.iter().map(|field| &field.column_name);
    let keys = fields.iter().filter(|field| field.is_key).map(|field| &field.column_name);
    let partition_keys = fields.iter().filter(|field| field.is_partition_key).map(|field| &field.column_name);
    let values = fields.iter().map(|field| {
        let ident = &field.ident;
        quote!(::duet_client::ColumnValue::to_value(&self.#ident))
    });
    let hash_only = table.hash_only.then(|| quote!(.hash_only()));
    let indexes = attributes::indexes(&fields)?;
    let descriptions = fields.iter().map(Field::description);
    let reads = fields.iter().enumerate().map(|(index, field)| {
        let ident = &field.ident;
        quote!(#ident: ::duet_client::ColumnValue::from_value(value(#index)).ok_or(#index)?)
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::duet_client::TableRow for #name {
            fn definition() -> ::duet_client::Result<::duet_client::TableDefinition> {
                let builder = ::duet_client::TableDefinition::builder(#database, #table_name)
                    #(.column(#columns))*
                    .primary_key::<&str>([#(#keys),*])
                    .partition_key::<&str>([#(#partition_keys),*])
                    #hash_only
                    #(#indexes)*;
                ::core::result::Result::Ok(builder.build()?)
            }

            fn column_names() -> &'static [&'static str] {
                &[#(#names),*]
            }

            fn fields() -> &'static [::duet_client::RowField] {
                const { &[#(#descriptions),*] }
            }

            fn values(&self) -> ::std::vec::Vec<::duet_client::ValueRef<'_>> {
                ::std::vec![#(#values),*]
            }

            fn from_values<'v>(
                mut value: impl ::core::ops::FnMut(usize) -> ::duet_client::ValueRef<'v>,
            ) -> ::core::result::Result<Self, usize> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}
