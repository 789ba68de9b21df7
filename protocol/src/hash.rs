//! tmp
pub const BUCKET_COUNT: usize = 4096;
pub fn bucket_of(h: u64) -> u16 {
    (h >> 52) as u16
}
