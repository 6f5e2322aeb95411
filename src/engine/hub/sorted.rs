//! Live queries sorted by the value that their filters want of one field: an event finds those that
//! it may concern by the values that the document has and had, without a look at all others.

use std::collections::HashMap;

use query::{Filter, Probe};

use super::change::Told;

/// Fields to sort by at most; what asks for others is looked at for each event.
const PROBES_MAX: usize = 16;

/// Live queries, or whoever asks one, by their filters.
pub(super) struct Sorted<T> {
    /// Those that any document may concern.
    any: Vec<T>,
    by_field: Vec<(Probe, HashMap<String, Vec<T>>)>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { any: Vec::new(), by_field: Vec::new() }
    }
}

impl<T> Sorted<T> {
    /// Those among which one with this filter is.
    pub(super) fn like(&mut self, filter: Option<&Filter>) -> &mut Vec<T> {
        let Some((probe, value)) = filter.and_then(Filter::probe) else { return &mut self.any };
        let at = match self.by_field.iter().position(|(known, _)| *known == probe) {
            Some(at) => at,
            None if self.by_field.len() >= PROBES_MAX => return &mut self.any,
            None => {
                self.by_field.push((probe, HashMap::new()));
                self.by_field.len() - 1
            }
        };
        self.by_field[at].1.entry(value).or_default()
    }

    /// Takes out what should not be kept, which has this filter.
    pub(super) fn retain(&mut self, filter: Option<&Filter>, keep: impl Fn(&mut T) -> bool) {
        // Where fields were too many, it may be in either place.
        self.any.retain_mut(&keep);
        let Some((probe, value)) = filter.and_then(Filter::probe) else { return };
        let Some(at) = self.by_field.iter().position(|(known, _)| *known == probe) else { return };
        let by_value = &mut self.by_field[at].1;
        if let Some(some) = by_value.get_mut(&value) {
            some.retain_mut(keep);
            if some.is_empty() {
                by_value.remove(&value);
            }
        }
        if by_value.is_empty() {
            self.by_field.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.by_field.is_empty()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let by_field = self.by_field.iter().flat_map(|(_, by_value)| by_value.values());
        self.any.iter().chain(by_field.flatten())
    }

    /// All of them, to change.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let by_field = self.by_field.iter_mut().flat_map(|(_, by_value)| by_value.values_mut());
        self.any.iter_mut().chain(by_field.flatten())
    }

    /// Shows those an event that it may concern.
    pub(super) fn show(&mut self, told: &Told, mut show: impl FnMut(&mut T)) {
        self.any.iter_mut().for_each(&mut show);
        for (probe, by_value) in &mut self.by_field {
            let Some(values) = told.values(probe) else {
                // What it was is not known, so it may have been anything.
                by_value.values_mut().flatten().for_each(&mut show);
                continue;
            };
            for value in values {
                by_value.get_mut(&value).into_iter().flatten().for_each(&mut show);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(value: &str) -> Filter {
        let text = format!(r#"{{"field":"room","op":"==","value":"{value}"}}"#);
        Filter::parse(&text).unwrap()
    }

    #[test]
    fn what_has_left_leaves_nothing_behind() {
        let mut sorted = Sorted::default();
        let other = Filter::parse(r#"{"field":"n","op":">","value":1}"#).unwrap();
        for (number, filter) in
            [Some(&filter("a")), Some(&filter("b")), Some(&other), None].into_iter().enumerate()
        {
            sorted.like(filter).push(number);
        }
        assert_eq!(sorted.all().count(), 4);
        assert_eq!(sorted.like(Some(&filter("a"))).len(), 1);
        assert_eq!(sorted.like(Some(&other)).len(), 2);
        sorted.retain(Some(&filter("a")), |number| *number != 0);
        sorted.retain(Some(&filter("b")), |number| *number != 1);
        assert!(sorted.by_field.is_empty() && !sorted.is_empty());
        sorted.retain(Some(&other), |number| *number != 2);
        sorted.retain(None, |number| *number != 3);
        assert!(sorted.is_empty());
    }
}
