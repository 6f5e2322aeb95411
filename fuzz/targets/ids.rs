//! Small texts with one spelling each: what parses prints, and the print parses to the same.
//! Times and actors may have several spellings of one value; the print is then the one that
//! stays.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use domain::{
    Actor, CollectionName, DocumentId, EventType, KeyId, Position, ProjectId, StreamId, Timestamp,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    exact::<ProjectId>(text);
    exact::<CollectionName>(text);
    exact::<DocumentId>(text);
    exact::<KeyId>(text);
    exact::<Position>(text);
    exact::<Actor>(text);
    if let Ok(time) = stable::<Timestamp>(text) {
        assert_eq!(Timestamp::from_micros(time.as_micros()), time);
    }
    if let Ok(kind) = EventType::parse(text) {
        assert_eq!(kind.as_str(), text);
        assert_eq!(EventType::parse(&kind.to_string()), Ok(kind));
    }
    if let Ok(stream) = StreamId::parse(text) {
        assert_eq!(stream.as_str(), text);
        assert!(text.starts_with(stream.category()));
        if let Some((collection, id)) = stream.as_document()
            && let (Ok(collection), Ok(id)) = (CollectionName::new(collection), DocumentId::new(id))
        {
            assert_eq!(StreamId::document(&collection, &id), stream);
        }
        assert_eq!(StreamId::parse(&stream.to_string()), Ok(stream));
    }
});

/// The print is the text.
fn exact<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = stable::<T>(text) {
        assert_eq!(value.to_string(), text);
    }
}

/// The print parses to the same value.
fn stable<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> Result<T, T::Err> {
    let value = text.parse::<T>()?;
    let printed = value.to_string();
    let again = printed.parse::<T>().unwrap_or_else(|error| panic!("{printed:?}: {error:?}"));
    assert_eq!(again, value, "{printed:?}");
    Ok(value)
}
