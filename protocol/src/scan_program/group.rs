//! Which number has a row's group? An open-addressing table over the images of group columns.

use super::image::{ImageWriter, NARROW_BYTES};
use crate::hash::key_hash;
use crate::layout::TableLayout;
use crate::row::RowView;

/// Groups by the image of their columns. Images of a fixed length of at most [`NARROW_BYTES`] are compared as numbers.
#[derive(Debug)]
pub(super) struct Groups {
    /// The upper half of a group's hash above its number plus one; 0 where there is none. A power of two of them, at most
    /// half used.
    slots: Vec<u64>,
    images: Images,
    /// The image of the row, or of the group, that was looked at last.
    image: Vec<u8>,
}

/// The images of all groups, by number.
#[derive(Debug)]
enum Images {
    /// As little-endian numbers of so many bytes.
    Narrow { bytes: usize, numbers: Vec<u128> },
    /// One behind the other.
    Wide { bytes: Vec<u8>, ends: Vec<usize> },
}

/// A group of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) number: usize,
    pub(super) is_new: bool,
    pub(super) image_bytes: usize,
}

/// Where a group belongs that is not there; good until the next insertion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vacant {
    hash: u64,
    place: usize,
}

/// Whether images of this layout are narrow.
pub(super) fn is_narrow(image: &TableLayout) -> bool {
    image.variable.is_empty() && image.variable_start <= NARROW_BYTES
}

impl Groups {
    /// No groups yet, with images of this layout.
    pub(super) fn new(image: &TableLayout) -> Groups {
        let images = match is_narrow(image) {
            true => Images::Narrow { bytes: image.variable_start, numbers: Vec::new() },
            false => Images::Wide { bytes: Vec::new(), ends: Vec::new() },
        };
        Groups { slots: Vec::new(), images, image: Vec::new() }
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        match &self.images {
            Images::Narrow { numbers, .. } => numbers.len(),
            Images::Wide { ends, .. } => ends.len(),
        }
    }

    /// The image of a group.
    pub(super) fn image(&mut self, number: usize) -> &[u8] {
        match &self.images {
            Images::Narrow { bytes, numbers } => {
                self.image.clear();
                self.image.extend_from_slice(&numbers[number].to_le_bytes()[..*bytes]);
                &self.image
            }
            Images::Wide { bytes, ends } => wide_image(bytes, ends, number),
        }
    }

    /// The group of a row. An image longer than `most` bytes has none: its length is the error.
    #[inline]
    pub(super) fn of_row(
        &mut self,
        columns: &ImageWriter,
        row: &RowView<'_>,
        most: usize,
    ) -> Result<Found, usize> {
        self.make_room();
        if let Images::Narrow { bytes, numbers } = &mut self.images {
            let (image_bytes, image) = (*bytes, columns.narrow_canonical(row));
            let hash = hash_of_narrow(image);
            return Ok(match probe(&self.slots, hash, |number| numbers[number] == image) {
                Ok(number) => Found { number, is_new: false, image_bytes },
                Err(vacant) => {
                    numbers.push(image);
                    let number = occupy(&mut self.slots, vacant, numbers.len());
                    Found { number, is_new: true, image_bytes }
                }
            });
        }
        let mut image = std::mem::take(&mut self.image);
        image.clear();
        columns.append_canonical(row, &mut image);
        let image_bytes = image.len();
        let found = match self.find(&image) {
            _ if image_bytes > most => Err(image_bytes),
            Ok(number) => Ok(Found { number, is_new: false, image_bytes }),
            Err(vacant) => Ok(Found { number: self.insert(vacant, &image), is_new: true, image_bytes }),
        };
        self.image = image;
        found
    }

    /// The number of the group with this image, or where it belongs. An image that cannot be one of the layout is not found.
    #[inline]
    pub(super) fn find(&mut self, image: &[u8]) -> Result<usize, Vacant> {
        self.make_room();
        match &self.images {
            Images::Narrow { bytes, numbers } => {
                let wanted = number_of(image);
                let is_it = |number: usize| numbers[number] == wanted && image.len() == *bytes;
                probe(&self.slots, hash_of_narrow(wanted), is_it)
            }
            Images::Wide { bytes, ends } => {
                probe(&self.slots, key_hash(image), |number| wide_image(bytes, ends, number) == image)
            }
        }
    }

    /// Adds the group with this image, which the layout allows, where it was not found. Returns its number.
    #[inline]
    pub(super) fn insert(&mut self, vacant: Vacant, image: &[u8]) -> usize {
        match &mut self.images {
            Images::Narrow { numbers, .. } => numbers.push(number_of(image)),
            Images::Wide { bytes, ends } => {
                bytes.extend_from_slice(image);
                ends.push(bytes.len());
            }
        }
        let count = self.len();
        occupy(&mut self.slots, vacant, count)
    }

    #[inline(always)]
    fn make_room(&mut self) {
        if self.slots.len() < (self.len() + 1) * 2 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 4).max(64);
        let before = std::mem::replace(&mut self.slots, vec![0; size]);
        for slot in before.into_iter().filter(|slot| *slot != 0) {
            let mut place = place_of(slot, size);
            while self.slots[place] != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = slot;
        }
    }
}

const UPPER_HALF: u64 = !(u32::MAX as u64);

/// The first place for a hash or a slot with its upper half.
#[inline(always)]
fn place_of(hash: u64, slots: usize) -> usize {
    (hash >> 32) as usize & (slots - 1)
}

/// Looks for a group among those whose hashes have the same upper half.
#[inline(always)]
fn probe(slots: &[u64], hash: u64, is_it: impl Fn(usize) -> bool) -> Result<usize, Vacant> {
    let mut place = place_of(hash, slots.len());
    loop {
        let slot = slots[place];
        if slot == 0 {
            return Err(Vacant { hash, place });
        }
        let number = slot as u32 as usize - 1;
        if (slot ^ hash) & UPPER_HALF == 0 && is_it(number) {
            return Ok(number);
        }
        place = (place + 1) & (slots.len() - 1);
    }
}

/// Puts the last of `count` groups into its place; its number.
#[inline(always)]
fn occupy(slots: &mut [u64], vacant: Vacant, count: usize) -> usize {
    slots[vacant.place] = vacant.hash & UPPER_HALF | count as u64;
    count - 1
}

fn wide_image<'a>(bytes: &'a [u8], ends: &[usize], number: usize) -> &'a [u8] {
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}

/// A narrow image as a number; of longer ones the beginning.
#[inline(always)]
fn number_of(image: &[u8]) -> u128 {
    let mut bytes = [0; NARROW_BYTES];
    let length = image.len().min(NARROW_BYTES);
    bytes[..length].copy_from_slice(&image[..length]);
    u128::from_le_bytes(bytes)
}

/// A hash of a number: both halves are multiplied and folded. Whoever makes collisions slows down one page of his own.
#[inline(always)]
fn hash_of_narrow(image: u128) -> u64 {
    let fold = |number: u64, factor: u64| {
        let product = u128::from(number) * u128::from(factor);
        product as u64 ^ (product >> 64) as u64
    };
    let low = fold(image as u64 ^ 0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9);
    fold(low ^ (image >> 64) as u64, 0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, ColumnType};

    /// Groups of narrow and of wide images, with so many groups that the table grows, have the numbers of their order.
    #[test]
    fn groups_are_numbered_in_the_order_in_which_they_come() {
        for column_type in [ColumnType::BigIntUnsigned, ColumnType::Varbinary { bytes: 20 }] {
            let layout = TableLayout::without_key(vec![Column::new("a", column_type)]);
            let image = |number: u64| match is_narrow(&layout) {
                true => [&[0][..], &number.to_le_bytes()].concat(),
                false => [&[0, 8, 0][..], &number.to_le_bytes()].concat(),
            };
            let mut groups = Groups::new(&layout);
            for number in 0..3_000_u64 {
                let vacant = groups.find(&image(number)).expect_err("new");
                assert_eq!(groups.insert(vacant, &image(number)) as u64, number);
            }
            assert_eq!(groups.len(), 3_000);
            for number in 0..3_000_u64 {
                assert_eq!(groups.find(&image(number)).expect("there") as u64, number);
                assert_eq!(groups.image(number as usize), image(number));
                assert!(groups.find(&image(number)[..4]).is_err(), "another length");
            }
        }
    }
}
