//! The one ConfigMap that the job may read and patch.
use candlepower_api::benchmark::job::{
    ANSWER, ASSIGNMENT, Answer, Assignment, COPY_READY_WITHIN, Change, CopyState, KEPT, Kept,
    MACHINE, MACHINE_KNOWN_WITHIN, MACHINE_WISH, MachineAnswer, MachineState, MachineWish,
    PROGRESS, Progress, Served, Termination, WISH, Wish,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How often an answer is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Pauses between attempts to write what must not be lost; an API server may restart meanwhile.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Why the ConfigMap is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The pod has no account, or no API server.
    #[error("the cluster cannot be reached from this pod: {0}")]
    Cluster(#[source] Box<kube::Error>),
    /// It cannot be read or written.
    #[error("{verb} the ConfigMap {name}: {source}")]
    Request {
        /// What was tried.
        verb: &'static str,
        /// Its name.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// What should be in it is not.
    #[error("the ConfigMap {name} has no {key} that can be read: {why}")]
    Content {
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A value has no JSON form.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What another pod of this job has left in it.
pub(super) struct Left {
    /// It had begun.
    pub(super) began: bool,
    /// The number of its last wish, and whether a copy was wished for.
    pub(super) last_wish: Option<Wish>,
    /// The same of the machine that was to be looked at.
    pub(super) last_machine: Option<MachineWish>,
    /// Rounds that it had measured.
    pub(super) kept: Vec<Kept>,
}

/// The ConfigMap.
#[derive(Clone)]
pub(super) struct Mailbox {
    config_maps: Api<ConfigMap>,
    name: String,
}

impl Mailbox {
    /// By the pod's own account.
    pub(super) async fn open(namespace: &str, name: &str) -> Result<Self, Error> {
        let client = Client::try_default()
            .await
            .map_err(|error| Error::Cluster(Box::new(error)))?;
        Ok(Self {
            config_maps: Api::namespaced(client, namespace),
            name: name.to_owned(),
        })
    }

    /// What to do.
    pub(super) async fn assignment(&self) -> Result<Assignment, Error> {
        let data = self.data_in_the_end().await?;
        let content = |why: String| Error::Content {
            name: self.name.clone(),
            key: ASSIGNMENT,
            why,
        };
        let text = data.get(ASSIGNMENT);
        let text = text.ok_or_else(|| content("there is none".to_owned()))?;
        serde_json::from_str(text).map_err(|error| content(error.to_string()))
    }

    /// Tells how far it is. What is lost is told again in a moment.
    pub(super) async fn progress(&self, progress: &Progress) {
        if let Err(error) = self.put(PROGRESS, progress).await {
            eprintln!("warning: progress could not be told: {error}");
        }
    }

    /// Writes texts that must not be lost.
    pub(super) async fn keep(&self, texts: &BTreeMap<&str, String>) -> Result<(), Error> {
        let patch = json!({"data": texts});
        in_the_end(&PAUSES, async || self.patch(&patch).await).await
    }

    /// What another pod of this job has left, where one was lost.
    pub(super) async fn left(&self) -> Result<Left, Error> {
        let data = self.data_in_the_end().await?;
        Ok(Left {
            began: data.contains_key(PROGRESS),
            last_wish: parse(&data, WISH),
            last_machine: parse(&data, MACHINE_WISH),
            kept: parse(&data, KEPT).unwrap_or_default(),
        })
    }

    /// Wishes for a copy with this change, or for none; gives back the copy once it serves, or why it
    /// does not.
    pub(super) async fn wish(
        &self,
        number: u32,
        serve: Option<Change>,
    ) -> Result<Result<Option<Served>, String>, Error> {
        let wish = Wish { number, serve };
        self.keep(&BTreeMap::from([(WISH, serde_json::to_string(&wish)?)]))
            .await?;
        let answer = async || {
            let answer = self.answer(number).await?;
            Some(match answer.state {
                CopyState::Ready | CopyState::Released => Heard::End(Ok(answer.served)),
                CopyState::Failed => Heard::End(Err(answer.message)),
                CopyState::Waiting => Heard::Waiting(answer.message),
            })
        };
        Ok(heard_within(COPY_READY_WITHIN, LOOK, answer).await)
    }

    /// Has a node looked at; gives back what was found there, or why nothing was.
    pub(super) async fn machine(
        &self,
        number: u32,
        node: &str,
    ) -> Result<Result<Value, String>, Error> {
        let wish = MachineWish {
            number,
            node: Some(node.to_owned()),
        };
        self.wish_for_machine(&wish).await?;
        let answer = async || {
            let answer: MachineAnswer = self.read(MACHINE).await?;
            let of_this = (answer.number == number).then_some(answer)?;
            Some(match (of_this.state, of_this.found) {
                (MachineState::Known, Some(found)) => Heard::End(Ok(found)),
                (MachineState::Known, None) => Heard::End(Err("nothing was found".to_owned())),
                (MachineState::Failed, _) => Heard::End(Err(of_this.message)),
                (MachineState::Waiting, _) => Heard::Waiting(of_this.message),
            })
        };
        Ok(heard_within(MACHINE_KNOWN_WITHIN, LOOK, answer).await)
    }

    /// Says which node should be looked at, if any.
    pub(super) async fn wish_for_machine(&self, wish: &MachineWish) -> Result<(), Error> {
        let text = serde_json::to_string(wish)?;
        self.keep(&BTreeMap::from([(MACHINE_WISH, text)])).await
    }

    /// How containers of the target ended, as the operator knows now: of the deployment itself, or of the copy that
    /// was wished for. A look that fails is followed by another.
    pub(super) async fn terminations(&self, copy: Option<u32>) -> Option<Vec<Termination>> {
        let served = if let Some(wish) = copy {
            self.answer(wish).await?.served?
        } else {
            self.read::<Assignment>(ASSIGNMENT).await?.target
        };
        served.terminations
    }

    async fn answer(&self, number: u32) -> Option<Answer> {
        let answer: Answer = self.read(ANSWER).await?;
        (answer.number == number).then_some(answer)
    }

    /// A look that fails is followed by another.
    async fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let data = self.data().await;
        let data = data.inspect_err(|error| eprintln!("warning: {error}"));
        parse(&data.ok()?, key)
    }

    async fn put(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value)?;
        self.patch(&json!({"data": {key: text}})).await
    }

    async fn patch(&self, patch: &Value) -> Result<(), Error> {
        let params = PatchParams::default();
        self.config_maps
            .patch_metadata(&self.name, &params, &Patch::Merge(patch))
            .await
            .map(|_| ())
            .map_err(|source| Error::Request {
                verb: "writing",
                name: self.name.clone(),
                source: Box::new(source),
            })
    }

    /// What everything else waits for: an API server may restart meanwhile.
    async fn data_in_the_end(&self) -> Result<BTreeMap<String, String>, Error> {
        in_the_end(&PAUSES, async || self.data().await).await
    }

    async fn data(&self) -> Result<BTreeMap<String, String>, Error> {
        let found = self.config_maps.get(&self.name).await;
        let found = found.map_err(|source| Error::Request {
            verb: "reading",
            name: self.name.clone(),
            source: Box::new(source),
        })?;
        Ok(found.data.unwrap_or_default())
    }
}

/// What there is to hear about a wish.
enum Heard<T> {
    /// It goes on, and how it stands.
    Waiting(String),
    /// It is granted, or never will be.
    End(Result<T, String>),
}

/// Looks after each `pause` until a wish has come to its end, or for so long.
async fn heard_within<T>(
    longest: Duration,
    pause: Duration,
    look: impl AsyncFn() -> Option<Heard<T>>,
) -> Result<T, String> {
    let began = Instant::now();
    let mut last = "the operator has not answered".to_owned();
    while began.elapsed() < longest {
        sleep(pause).await;
        match look().await {
            Some(Heard::End(end)) => return end,
            Some(Heard::Waiting(message)) => last = message,
            None => {}
        }
    }
    let minutes = longest.as_secs() / 60;
    Err(format!("not within {minutes} minutes: {last}"))
}

/// Tries again after each pause, as long as that may help.
async fn in_the_end<T>(
    pauses: &[Duration],
    request: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    for &pause in pauses {
        match request().await {
            Err(error) if is_passing(&error) => {
                eprintln!("warning: {error}; trying again in {} s", pause.as_secs());
                sleep(pause).await;
            }
            result => return result,
        }
    }
    request().await
}

fn parse<T: DeserializeOwned>(data: &BTreeMap<String, String>, key: &str) -> Option<T> {
    serde_json::from_str(data.get(key)?).ok()
}

/// Whether the same request may succeed in a moment.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Request { source, .. } => match &**source {
            kube::Error::Api(status) => {
                status.code >= 500 || status.code == 429 || status.code == 409
            }
            _ => true,
        },
        Error::Cluster(_) | Error::Content { .. } | Error::Json(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use std::cell::Cell;

    fn answered(code: u16) -> Error {
        Error::Request {
            verb: "writing",
            name: "a".into(),
            source: Box::new(kube::Error::Api(Box::new(Status {
                code,
                ..Status::default()
            }))),
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_not_tried_again() {
        let passing = |code| is_passing(&answered(code));
        assert!(passing(500) && passing(429) && passing(409));
        assert!(!passing(403) && !passing(404) && !passing(413));
    }

    #[tokio::test]
    async fn a_request_is_repeated_until_it_succeeds_or_cannot() {
        let tried = |codes: &'static [u16]| async move {
            let asked = Cell::new(0);
            let result = in_the_end(&[Duration::ZERO; 2], async || {
                asked.set(asked.get() + 1);
                codes
                    .get(asked.get() - 1)
                    .map_or(Ok(()), |&code| Err(answered(code)))
            });
            (result.await.is_ok(), asked.get())
        };
        assert_eq!(tried(&[]).await, (true, 1));
        assert_eq!(tried(&[503, 503]).await, (true, 3));
        assert_eq!(tried(&[503, 403]).await, (false, 2));
        assert_eq!(tried(&[503, 503, 503, 503]).await, (false, 3));
    }

    #[tokio::test]
    async fn a_wish_is_waited_for_until_its_end_or_for_so_long() {
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(1));
        let looks = Cell::new(0);
        let granted = heard_within(long, short, async || {
            looks.set(looks.get() + 1);
            Some(match looks.get() {
                1 => return None,
                2 => Heard::Waiting("it starts".to_owned()),
                _ => Heard::End(Ok(7)),
            })
        });
        assert_eq!((granted.await, looks.get()), (Ok(7), 3));
        let never = heard_within::<()>(short, short, async || {
            Some(Heard::Waiting("no node has room".to_owned()))
        });
        let why = never.await.unwrap_err();
        assert_eq!(why, "not within 0 minutes: no node has room");
    }
}
