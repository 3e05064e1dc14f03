//! Lists and tables of JSON that have an end: a few bytes of text can be a large value in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A list of at most so many elements; null is none.
///
/// # Errors
/// The parser's, or that there are more.
pub(crate) fn list<'de, D, T, const MOST: usize>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_any(List::<T, MOST>(PhantomData))
}

/// A table of at most so many entries; null is none.
///
/// # Errors
/// The parser's, or that there are more.
pub(crate) fn table<'de, D, T, const MOST: usize>(
    from: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_any(Table::<T, MOST>(PhantomData))
}

/// A value as Go reads it: null is what nothing is.
///
/// # Errors
/// The parser's.
pub(crate) fn nullable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Words of a command, as docker takes them: a list, or one word alone.
///
/// # Errors
/// The parser's, or that there are more.
pub(crate) fn words<'de, D, const MOST: usize>(from: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(Words::<MOST>)
}

/// A structure with named fields.
pub(crate) trait Fields: Default {
    /// Takes the value that is next in `entries` if there is a field of this name, which is in small letters.
    ///
    /// # Errors
    /// The parser's.
    fn set<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        entries: &mut A,
    ) -> Result<bool, A::Error>;
}

/// A structure as Go reads it: names in capital or small letters, the last of a name counts, null is nothing.
///
/// # Errors
/// The parser's.
pub(crate) fn fields<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Fields,
{
    struct Reader<T>(PhantomData<T>);

    impl<'de, T: Fields> Visitor<'de> for Reader<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_unit<E: Error>(self) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
            let mut out = T::default();
            while let Some(name) = entries.next_key::<String>()? {
                if !out.set(&name.to_ascii_lowercase(), &mut entries)? {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
            Ok(out)
        }
    }

    from.deserialize_any(Reader(PhantomData))
}

struct Words<const MOST: usize>;

impl<'de, const MOST: usize> Visitor<'de> for Words<MOST> {
    type Value = Option<Vec<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words, or one")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        Ok(Some(vec![word.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let words = List::<Option<String>, MOST>(PhantomData).visit_seq(items)?;
        Ok(words.map(|words| words.into_iter().map(Option::unwrap_or_default).collect()))
    }
}

struct List<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            if out.len() == MOST {
                return Err(A::Error::custom(format_args!("a list of more than {MOST} elements")));
            }
            out.push(item);
        }
        Ok(Some(out))
    }
}

struct Table<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Table<T, MOST> {
    type Value = Option<BTreeMap<String, T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry()? {
            if out.len() == MOST {
                return Err(A::Error::custom(format_args!("a table of more than {MOST} entries")));
            }
            out.insert(name, value);
        }
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(default)]
    #[derive(Default)]
    struct Small {
        #[serde(deserialize_with = "list::<_, _, 2>")]
        list: Option<Vec<u8>>,
        #[serde(deserialize_with = "table::<_, _, 2>")]
        table: Option<BTreeMap<String, u8>>,
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let read = serde_json::from_str::<Small>;
        assert_eq!(read("{}").unwrap(), Small::default());
        assert_eq!(read(r#"{"list": null, "table": null}"#).unwrap(), Small::default());
        assert_eq!(read(r#"{"list": [1, 2]}"#).unwrap().list, Some(vec![1, 2]));
        let error = read(r#"{"list": [1, 2, 3]}"#).unwrap_err().to_string();
        assert!(error.contains("a list of more than 2 elements"), "{error}");
        assert_eq!(read(r#"{"table": {"a": 1, "b": 2}}"#).unwrap().table.unwrap().len(), 2);
        let error = read(r#"{"table": {"a": 1, "b": 2, "c": 3}}"#).unwrap_err().to_string();
        assert!(error.contains("a table of more than 2 entries"), "{error}");
        assert!(read(r#"{"list": 1}"#).is_err() && read(r#"{"table": []}"#).is_err());
    }
}
