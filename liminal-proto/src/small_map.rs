//! An ordered map for what mostly holds one entry or none. Shared by the crates of this workspace, and no part
//! of what this one promises to others.

use alloc::collections::BTreeMap;
use core::mem;

/// An ordered map whose first entry needs no allocation: one that never holds two entries at once never
/// allocates. Nearly all conversations have one request at a time, and a tree for it would be built and
/// torn down with each.
#[derive(Debug)]
pub struct SmallMap<K, V> {
    /// The entry with the least key, whenever there is any.
    first: Option<(K, V)>,
    rest: BTreeMap<K, V>,
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self { first: None, rest: BTreeMap::new() }
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// A map without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: None, rest: BTreeMap::new() }
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// The entry with the least key.
    #[must_use]
    pub const fn first(&self) -> Option<&(K, V)> {
        self.first.as_ref()
    }

    /// The value with this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.first {
            Some((first, value)) if first == key => Some(value),
            Some(_) if !self.rest.is_empty() => self.rest.get(key),
            _ => None,
        }
    }

    /// The value with this key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.first {
            Some((first, value)) if first == key => Some(value),
            Some(_) if !self.rest.is_empty() => self.rest.get_mut(key),
            _ => None,
        }
    }

    /// Adds an entry, and returns the value that had this key before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.first {
            None => {
                self.first = Some((key, value));
                None
            }
            Some((first, old)) if *first == key => Some(mem::replace(old, value)),
            Some(first) if key < first.0 => {
                let (later, its) = mem::replace(first, (key, value));
                self.rest.insert(later, its)
            }
            Some(_) => self.rest.insert(key, value),
        }
    }

    /// Takes out the value with this key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        match &self.first {
            Some((first, _)) if first == key => self.pop_first().map(|(_, value)| value),
            Some(_) if !self.rest.is_empty() => self.rest.remove(key),
            _ => None,
        }
    }

    /// Takes out the entry with the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let first = self.first.take()?;
        if !self.rest.is_empty() {
            self.first = self.rest.pop_first();
        }
        Some(first)
    }

    /// The entries, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.first.iter().map(|(key, value)| (key, value)).chain(&self.rest)
    }

    /// The same, their values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.first.iter_mut().map(|(key, value)| (&*key, value)).chain(&mut self.rest)
    }

    /// The values, by ascending key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::SmallMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        PopFirst,
        Get(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0_u8..6;
        prop_oneof![
            3 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => key().prop_map(Step::Remove),
            1 => Just(Step::PopFirst),
            1 => key().prop_map(Step::Get),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 0..60)) {
            let (mut map, mut model) = (SmallMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::PopFirst => prop_assert_eq!(map.pop_first(), model.pop_first()),
                    Step::Get(key) => {
                        prop_assert_eq!(map.get(&key), model.get(&key));
                        prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.first().map(|(key, _)| key), model.keys().next());
                prop_assert_eq!(map.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
                prop_assert_eq!(map.iter_mut().collect::<Vec<_>>(), model.iter_mut().collect::<Vec<_>>());
                prop_assert_eq!(map.values().collect::<Vec<_>>(), model.values().collect::<Vec<_>>());
            }
        }
    }
}
