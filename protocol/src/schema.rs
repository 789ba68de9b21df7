//! tmp
use rkyv::*;
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    Preparing,
    Active,
    Dropping,
}
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct TableDefinition {
    pub database: String,
    pub name: String,
}
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Table {
    pub id: u32,
    pub version: u16,
    pub state: TableState,
    pub definition: TableDefinition,
}
