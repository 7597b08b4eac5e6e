//! What a watch has shown last, by name and by the `LLMDeployment` that it belongs to.
//!
//! kube's own store keeps with each object a key of four strings, which weighs much beside what is kept of the object here, and
//! to look through all objects for those of one resource would be most of a reconcile among a thousand.
use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::Event;
use std::{
    cmp::Ordering,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What tells objects in a cache apart.
pub(crate) trait Entry {
    fn namespace(&self) -> &str;
    fn name(&self) -> &str;
    /// The `LLMDeployment` that it belongs to.
    fn deployment(&self) -> Option<&str>;
    /// Takes over what is known of the object as it was before.
    fn inherit(&mut self, before: &Self);
}

/// The objects that a watch has shown last.
#[derive(Debug)]
pub(crate) struct Cache<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    objects: Mutex<Objects<T>>,
    /// Whether the first complete list has come.
    filled: watch::Sender<bool>,
}

/// Few enough to be kept in order, which is the smallest of all indexes.
#[derive(Debug)]
struct Objects<T> {
    /// In the order of their namespaces and names.
    by_name: Vec<Arc<T>>,
    /// In the order of their namespaces, the `LLMDeployment`s that they belong to, and their names.
    by_deployment: Vec<Arc<T>>,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            objects: Mutex::new(Objects {
                by_name: Vec::new(),
                by_deployment: Vec::new(),
            }),
            filled: watch::Sender::new(false),
        }))
    }
}

impl<T: Entry> Cache<T> {
    /// Waits for the first complete list.
    pub(crate) async fn filled(&self) {
        let mut filled = self.0.filled.subscribe();
        // It lives as long as the cache does.
        let _ = filled.wait_for(|filled| *filled).await;
    }

    /// The object of this name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let objects = self.lock();
        let place = objects.place(namespace, name).ok()?;
        objects.by_name.get(place).cloned()
    }

    /// The objects that belong to this `LLMDeployment`, in the order of their names.
    pub(crate) fn of_deployment(&self, namespace: &str, deployment: &str) -> Vec<Arc<T>> {
        let wanted = (namespace, Some(deployment));
        let owner = |object: &Arc<T>| (object.namespace(), object.deployment()).cmp(&wanted);
        let all = &self.lock().by_deployment;
        let first = all.partition_point(|object| owner(object) == Ordering::Less);
        let found = all.iter().skip(first);
        found
            .take_while(|object| owner(object) == Ordering::Equal)
            .cloned()
            .collect()
    }

    /// The objects that `is_wanted`, after a look at all.
    pub(crate) fn matching(&self, is_wanted: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let objects = self.lock();
        let all = objects.by_name.iter();
        all.filter(|object| is_wanted(object)).cloned().collect()
    }

    /// All objects.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.lock().by_name.clone()
    }

    /// Notes what a watch shows, and gives back the objects that have changed or gone. Of a list nothing is seen before it is
    /// complete: it is gathered in `listed`.
    fn take(&self, event: Event<T>, listed: &mut Vec<T>) -> Vec<Arc<T>> {
        match event {
            Event::Apply(object) => vec![self.lock().put(object)],
            Event::Delete(object) => {
                let mut objects = self.lock();
                objects.remove(object.namespace(), object.name());
                vec![Arc::new(object)]
            }
            Event::Init => {
                listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listed.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let changed = self.lock().replace(std::mem::take(listed));
                self.0.filled.send_replace(true);
                changed
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects<T>> {
        let objects = self.0.objects.lock();
        objects.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Entry> Objects<T> {
    fn place(&self, namespace: &str, name: &str) -> Result<usize, usize> {
        let wanted = (namespace, name);
        let identity = |object: &Arc<T>| (object.namespace(), object.name()).cmp(&wanted);
        self.by_name.binary_search_by(identity)
    }

    fn put(&mut self, mut object: T) -> Arc<T> {
        let place = self.place(object.namespace(), object.name());
        if let Some(before) = place.ok().and_then(|it| self.by_name.get(it)) {
            object.inherit(before);
        }
        let object = Arc::new(object);
        match place {
            Ok(place) => {
                let before = std::mem::replace(&mut self.by_name[place], object.clone());
                self.forget_owner(&before);
            }
            Err(place) => self.by_name.insert(place, object.clone()),
        }
        if let Err(place) = self.place_of_owned(&object) {
            self.by_deployment.insert(place, object.clone());
        }
        object
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        if let Ok(place) = self.place(namespace, name) {
            let before = self.by_name.remove(place);
            self.forget_owner(&before);
        }
    }

    /// Takes a complete list; all that is in it has changed, and all that is missing has gone: a watch that begins anew does
    /// not tell what happened meanwhile.
    fn replace(&mut self, listed: Vec<T>) -> Vec<Arc<T>> {
        let before = std::mem::replace(
            self,
            Self {
                by_name: Vec::with_capacity(listed.len()),
                by_deployment: Vec::with_capacity(listed.len()),
            },
        );
        for mut object in listed {
            if let Ok(place) = before.place(object.namespace(), object.name()) {
                object.inherit(&before.by_name[place]);
            }
            self.put(object);
        }
        let lost = before.by_name.into_iter();
        let lost = lost.filter(|object| self.place(object.namespace(), object.name()).is_err());
        let lost: Vec<_> = lost.collect();
        self.by_name.iter().cloned().chain(lost).collect()
    }

    fn place_of_owned(&self, wanted: &T) -> Result<usize, usize> {
        self.by_deployment
            .binary_search_by(|object| owned(&**object).cmp(&owned(wanted)))
    }

    fn forget_owner(&mut self, object: &T) {
        if let Ok(place) = self.place_of_owned(object) {
            self.by_deployment.remove(place);
        }
    }
}

fn owned<T: Entry>(object: &T) -> (&str, Option<&str>, &str) {
    (object.namespace(), object.deployment(), object.name())
}

/// Fills a cache with what a watch shows, and tells of each object that has changed or gone, after the cache shows it.
pub(super) fn filled<T, S>(events: S) -> (Cache<T>, impl Stream<Item = Arc<T>> + Send + use<T, S>)
where
    T: Entry + Send + Sync + 'static,
    S: Stream<Item = Event<T>> + Send,
{
    let cache = Cache::default();
    let filling = cache.clone();
    let mut listed = Vec::new();
    let changes = events.flat_map(move |event| stream::iter(filling.take(event, &mut listed)));
    (cache, changes)
}

#[cfg(test)]
pub(crate) fn holding<T: Entry>(objects: impl IntoIterator<Item = T>) -> Cache<T> {
    let cache = Cache::default();
    let mut listed = objects.into_iter().collect();
    cache.take(Event::InitDone, &mut listed);
    cache
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[derive(Clone, Debug, Eq, PartialEq)]
    struct Object {
        namespace: &'static str,
        name: &'static str,
        deployment: Option<&'static str>,
        /// How often it was inherited.
        age: u32,
    }

    impl Entry for Object {
        fn namespace(&self) -> &str {
            self.namespace
        }

        fn name(&self) -> &str {
            self.name
        }

        fn deployment(&self) -> Option<&str> {
            self.deployment
        }

        fn inherit(&mut self, before: &Self) {
            self.age = before.age + 1;
        }
    }

    fn object(name: &'static str, deployment: &'static str) -> Object {
        Object {
            namespace: "team",
            name,
            deployment: Some(deployment).filter(|it| !it.is_empty()),
            age: 0,
        }
    }

    fn names(objects: &[Arc<Object>]) -> Vec<&str> {
        objects.iter().map(|object| object.name).collect()
    }

    #[test]
    fn the_objects_of_a_deployment_are_found_until_they_go_or_change_hands() {
        let cache = holding([
            object("b", "tiny"),
            object("a", "tiny"),
            object("c", "other"),
        ]);
        let take = |event| cache.take(event, &mut Vec::new());
        let of = |deployment| cache.of_deployment("team", deployment);
        assert_eq!(names(&of("tiny")), ["a", "b"]);
        assert!(cache.of_deployment("elsewhere", "tiny").is_empty());
        assert_eq!(names(&take(Event::Delete(object("a", "tiny")))), ["a"]);
        take(Event::Apply(object("b", "other")));
        assert_eq!(names(&of("tiny")), [""; 0]);
        assert_eq!(names(&of("other")), ["b", "c"]);
        assert_eq!(names(&cache.all()), ["b", "c"]);
        take(Event::Apply(object("c", "")));
        assert_eq!(names(&of("other")), ["b"], "its label was removed");
        assert_eq!(cache.get("team", "c").unwrap().deployment, None);
    }

    #[test]
    fn what_was_known_of_an_object_is_handed_on() {
        let cache = holding([object("a", "tiny")]);
        let mut listed = Vec::new();
        let age = || cache.get("team", "a").unwrap().age;
        cache.take(Event::Apply(object("a", "tiny")), &mut listed);
        assert_eq!(age(), 1);
        for event in [
            Event::Init,
            Event::InitApply(object("a", "tiny")),
            Event::InitDone,
        ] {
            cache.take(event, &mut listed);
        }
        assert_eq!(age(), 2);
    }

    #[test]
    fn of_a_list_nothing_is_seen_before_it_is_complete_and_what_is_missing_has_gone() {
        let cache = holding([object("kept", "tiny"), object("lost", "tiny")]);
        let mut listed = Vec::new();
        let mut take = |event| names(&cache.take(event, &mut listed)).join(" ");
        assert_eq!(take(Event::Init), "");
        assert_eq!(take(Event::InitApply(object("half a list", ""))), "");
        assert_eq!(take(Event::Init), "", "the list broke off");
        assert_eq!(take(Event::InitApply(object("new", "tiny"))), "");
        assert_eq!(take(Event::InitApply(object("kept", "tiny"))), "");
        assert!(cache.get("team", "new").is_none());
        assert_eq!(take(Event::InitDone), "kept new lost");
        assert_eq!(names(&cache.of_deployment("team", "tiny")), ["kept", "new"]);
    }

    #[tokio::test]
    async fn a_cache_is_filled_by_the_first_complete_list_even_an_empty_one() {
        let (cache, changes) = filled::<Object, _>(stream::iter([Event::Init, Event::InitDone]));
        let soon = || timeout(Duration::from_millis(10), cache.filled());
        assert!(soon().await.is_err());
        assert_eq!(names(&changes.collect::<Vec<_>>().await), [""; 0]);
        assert!(soon().await.is_ok());
        assert!(cache.matching(|_| true).is_empty());
    }
}
