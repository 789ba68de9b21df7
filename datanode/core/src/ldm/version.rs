//! After-images of rows whose version of the table is not that of the request (counterexample 37).
//!
//! A row keeps the version under which it was written, until a request of a later one changes it. A request of an earlier
//! version leaves alone the columns that it does not know.

use crate::ldm::write::Refusal;
use crate::map::LocalTable;
use duet_protocol::error::ErrorCode;
use duet_protocol::row::RowError;
use duet_protocol::update::{UpdateResult, apply_update};

/// The value image of a row and the version that it follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredImage<'a> {
    pub(super) image: &'a [u8],
    pub(super) table_version: u16,
}

/// What a request makes of a row that exists.
#[derive(Debug)]
pub(super) enum RowChange<'a> {
    /// All columns that it knows are replaced by those of an image.
    Replace(&'a [u8]),
    /// Columns are changed by a program.
    Update {
        program: &'a [u8],
        /// Room for the row in the version of the request.
        scratch: &'a mut Vec<u8>,
    },
}

/// An after-image.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    /// It lies in the buffer that was given, and is not the request's own.
    pub(super) built: bool,
    /// Version that it follows.
    pub(super) table_version: u16,
    pub(super) result: UpdateResult,
}

impl RowChange<'_> {
    /// Makes the after-image of a row for a request of version `named`, in `image` where it is not the request's own.
    ///
    /// # Errors
    /// `InvalidRow` or `InvalidUpdate` when the row would not be one of the table; `StoredIsNewer`.
    #[inline]
    pub(super) fn apply(
        self,
        table: &LocalTable,
        named: u16,
        stored: StoredImage<'_>,
        image: &mut Vec<u8>,
    ) -> Result<Made, Refusal> {
        let (layouts, table_version) = (&table.layouts, named.max(stored.table_version));
        match self {
            RowChange::Replace(_) if named >= stored.table_version => {
                Ok(Made { built: false, table_version: named, ..Made::default() })
            }
            RowChange::Replace(given) => {
                image.clear();
                layouts
                    .overlay(given, named, stored.image, stored.table_version, image)
                    .map_err(|error| refusal(ErrorCode::InvalidRow, &error))?;
                Ok(Made { built: true, table_version, ..Made::default() })
            }
            RowChange::Update { program, scratch } => {
                let (current, _) =
                    table.image_for(stored.image, stored.table_version, table_version, scratch);
                image.clear();
                let result = apply_update(layouts.of_row(table_version), current, program, image)
                    .map_err(|error| refusal(error.refusal(), &error))?;
                Ok(Made { built: true, table_version, result })
            }
        }
    }
}

fn refusal(code: ErrorCode, error: &RowError) -> Refusal {
    (code, error.to_string())
}
