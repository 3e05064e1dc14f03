//! Users and groups, of which inodes have the number.

use std::collections::HashMap;

use super::WriteError;

/// There may be so many: their number has 16 bits.
const MOST: u16 = u16::MAX;

#[derive(Debug, Default)]
pub(super) struct Ids {
    ids: Vec<u32>,
    known: HashMap<u32, u16>,
}

impl Ids {
    pub(super) fn owner(&mut self, (user, group): (u32, u32)) -> Result<(u16, u16), WriteError> {
        Ok((self.number(user)?, self.number(group)?))
    }

    fn number(&mut self, id: u32) -> Result<u16, WriteError> {
        if let Some(number) = self.known.get(&id) {
            return Ok(*number);
        }
        let number = self.ids.len() as u16;
        if number == MOST {
            return Err(WriteError::limit(MOST, "users and groups"));
        }
        self.ids.push(id);
        self.known.insert(id, number);
        Ok(number)
    }

    pub(super) fn count(&self) -> u16 {
        self.ids.len() as u16
    }

    /// As the table has them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }
}
