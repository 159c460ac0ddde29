//! A map for ids that ascend. Shared by the crates of this workspace, and no part of what this one promises to others.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::marker::PhantomData;

use crate::ConversationId;

/// What a number names.
pub trait Id: Copy {
    /// The one with this number.
    fn of(number: u64) -> Self;

    /// Its number.
    fn number(self) -> u64;
}

impl Id for ConversationId {
    fn of(number: u64) -> Self {
        Self::new(number)
    }

    fn number(self) -> u64 {
        self.get()
    }
}

/// Ids that share a page: so many that pages are few where ids are near one another, and so few that one that is left
/// alone on its page takes little more than it would elsewhere. What is large is kept in a box for that.
const PAGE: usize = 16;

/// An ordered map whose keys mostly ascend: each that is added is greater than those before it. Those that are left are
/// mostly near one another, and are found without a search.
///
/// Any key may be added; one that is less than others moves the pages behind it.
#[derive(Debug)]
pub struct IdMap<K, V> {
    /// By ascending number. The first and the last are not empty.
    pages: VecDeque<Page<V>>,
    /// Pages between them that are. They are left until they are many, because to take one out moves others.
    empty: usize,
    /// What the number of the first page would be if none were missing in front of the last.
    start: u64,
    len: usize,
    keys: PhantomData<K>,
}

#[derive(Debug)]
struct Page<V> {
    number: u64,
    used: usize,
    slots: Box<[Option<V>; PAGE]>,
}

impl<V> Page<V> {
    fn new(number: u64) -> Self {
        Self { number, used: 0, slots: Box::new([const { None }; PAGE]) }
    }

    fn iter<K: Id>(&self) -> impl Iterator<Item = (K, &V)> {
        let number = self.number;
        self.slots.iter().enumerate().filter_map(move |(at, slot)| Some((key(number, at), slot.as_ref()?)))
    }

    fn into_iter<K: Id>(self) -> impl Iterator<Item = (K, V)> {
        let number = self.number;
        (*self.slots).into_iter().enumerate().filter_map(move |(at, slot)| Some((key(number, at), slot?)))
    }
}

/// The number of the page that an id is on, and its place there.
#[expect(clippy::cast_possible_truncation, reason = "the place is less than the size of a page")]
fn place(id: impl Id) -> (u64, usize) {
    let number = id.number();
    (number / PAGE as u64, (number % PAGE as u64) as usize)
}

/// The id in a place.
fn key<K: Id>(page: u64, at: usize) -> K {
    K::of(page * PAGE as u64 + at as u64)
}

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> IdMap<K, V> {
    /// A map without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { pages: VecDeque::new(), empty: 0, start: 0, len: 0, keys: PhantomData }
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<K: Id, V> IdMap<K, V> {
    /// Whether there is an entry with this key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value with this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (number, at) = place(*key);
        self.page(number)?.slots.get(at)?.as_ref()
    }

    /// The value with this key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (number, at) = place(*key);
        self.page_mut(number)?.slots.get_mut(at)?.as_mut()
    }

    /// Adds an entry, in the place of the one with this key if there is one.
    pub fn insert(&mut self, key: K, value: V) {
        let (number, at) = place(key);
        let position = self.position(number).unwrap_or_else(|| self.add_page(number));
        if let Some(page) = self.pages.get_mut(position)
            && let Some(slot) = page.slots.get_mut(at)
            && slot.replace(value).is_none()
        {
            self.empty -= usize::from(page.used == 0);
            page.used += 1;
            self.len += 1;
        }
    }

    /// Takes out the value with this key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (number, at) = place(*key);
        let position = self.position(number)?;
        let page = self.pages.get_mut(position)?;
        let value = page.slots.get_mut(at)?.take()?;
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            self.empty += 1;
            self.drop_empty();
        }
        Some(value)
    }

    /// Takes out the entry with the least key.
    pub fn pop_first(&mut self) -> Option<V> {
        let (key, _) = self.iter().next()?;
        self.remove(&key)
    }

    /// The entries, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.pages.iter().flat_map(|page| page.iter::<K>())
    }

    /// Those from a key on.
    pub fn iter_from(&self, first: K) -> impl Iterator<Item = (K, &V)> {
        let from = self.pages.partition_point(|page| page.number < place(first).0);
        let entries = self.pages.iter().skip(from).flat_map(|page| page.iter::<K>());
        entries.skip_while(move |(key, _)| key.number() < first.number())
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, by ascending key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries themselves, by ascending key.
    pub fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        self.pages.into_iter().flat_map(Page::into_iter)
    }

    fn page(&self, number: u64) -> Option<&Page<V>> {
        match self.guess(number) {
            Some(position) => self.pages.get(position),
            None => self.pages.get(self.search(number)?),
        }
    }

    fn page_mut(&mut self, number: u64) -> Option<&mut Page<V>> {
        match self.guess(number) {
            Some(position) => self.pages.get_mut(position),
            None => self.search(number).and_then(|position| self.pages.get_mut(position)),
        }
    }

    /// Where the page with this number is.
    fn position(&self, number: u64) -> Option<usize> {
        self.guess(number).or_else(|| self.search(number))
    }

    /// The same where no page is missing between it and the last, as is mostly so.
    fn guess(&self, number: u64) -> Option<usize> {
        let position = usize::try_from(number.wrapping_sub(self.start)).ok()?;
        self.pages.get(position).filter(|page| page.number == number).map(|_| position)
    }

    #[cold]
    fn search(&self, number: u64) -> Option<usize> {
        self.pages.binary_search_by_key(&number, |page| page.number).ok()
    }

    /// An empty page, which is to be filled at once.
    fn add_page(&mut self, number: u64) -> usize {
        let position = self.pages.partition_point(|page| page.number < number);
        self.pages.insert(position, Page::new(number));
        self.empty += 1;
        self.note_start();
        position
    }

    /// Lets go of empty pages at either end, and of all when they are more than the others. A map without entries holds
    /// no memory.
    fn drop_empty(&mut self) {
        let is_empty = |page: &Page<V>| page.used == 0;
        while self.pages.front().is_some_and(is_empty) {
            self.pages.pop_front();
            self.empty -= 1;
        }
        while self.pages.back().is_some_and(is_empty) {
            self.pages.pop_back();
            self.empty -= 1;
        }
        if 2 * self.empty > self.pages.len() {
            self.pages.retain(|page| !is_empty(page));
            self.empty = 0;
        }
        if self.len == 0 {
            self.pages = VecDeque::new();
        }
        self.note_start();
    }

    fn note_start(&mut self) {
        let behind_last = self.pages.back().map_or(0, |last| last.number.wrapping_add(1));
        self.start = behind_last.wrapping_sub(self.pages.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{IdMap, PAGE};
    use crate::ConversationId;

    #[derive(Clone, Debug)]
    enum Step {
        /// An id later by so much than the last.
        InsertNext(u64),
        Insert(u64),
        Remove(u64),
        PopFirst,
        Look(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = || prop_oneof![0..3 * PAGE as u64, Just(u64::MAX), any::<u64>()];
        prop_oneof![
            4 => (1..2 * PAGE as u64).prop_map(Step::InsertNext),
            1 => id().prop_map(Step::Insert),
            3 => id().prop_map(Step::Remove),
            1 => Just(Step::PopFirst),
            3 => id().prop_map(Step::Look),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 0..100)) {
            let (mut map, mut model) = (IdMap::new(), BTreeMap::new());
            let mut last = 0;
            for (value, step) in steps.into_iter().enumerate() {
                let id = match step {
                    Step::InsertNext(by) => {
                        last += by;
                        map.insert(ConversationId::new(last), value);
                        model.insert(ConversationId::new(last), value);
                        last
                    }
                    Step::Insert(id) => {
                        map.insert(ConversationId::new(id), value);
                        model.insert(ConversationId::new(id), value);
                        id
                    }
                    Step::Remove(id) => {
                        let key = ConversationId::new(id);
                        prop_assert_eq!(map.remove(&key), model.remove(&key));
                        id
                    }
                    Step::PopFirst => {
                        let (key, value) = model.pop_first().unzip();
                        prop_assert_eq!(map.pop_first(), value);
                        key.map_or(0, ConversationId::get)
                    }
                    Step::Look(id) => id,
                };
                let key = ConversationId::new(id);
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
                prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                let from: Vec<_> = model.range(key..).map(|(key, value)| (*key, value)).collect();
                prop_assert_eq!(map.iter_from(key).collect::<Vec<_>>(), from);
                prop_assert_eq!(map.keys().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
                prop_assert!(map.values().eq(model.values()));
                let empty = map.pages.iter().filter(|page| page.used == 0).count();
                prop_assert_eq!(empty, map.empty);
                prop_assert!(2 * empty <= map.pages.len());
                prop_assert!(!map.is_empty() || map.pages.capacity() == 0);
            }
            prop_assert_eq!(map.into_entries().collect::<BTreeMap<_, _>>(), model);
        }
    }
}
