//! The requests that write and delete children.
//!
//! What is not there yet is created, which costs the API server a good deal less than an apply, and fails where the name
//! is taken. Later changes are applied. What was created belongs to another operation then, from which an apply takes
//! nothing away: before its first apply, a child's fields are declared applied
//! ([Migration from client-side apply](https://kubernetes.io/docs/reference/using-api/server-side-apply/)).
use super::{Failure, Identity, Refusal, Writer};
use crate::{error::Error, traces};
use axum::http::{self, HeaderValue, header::ACCEPT};
use candlepower_api::names::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Resource,
    api::{
        ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams,
        Preconditions,
    },
    core::{Request, request},
};
use serde_json::{Value, json};
use std::{borrow::Cow, sync::atomic::Ordering};

/// Answers with an object's metadata alone.
const ONLY_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// An object to be written.
pub(super) struct Child {
    pub(super) kind: ApiResource,
    pub(super) name: String,
    pub(super) wanted: Value,
    /// Of what is wanted.
    pub(super) hash: String,
    pub(super) way: Way,
}

/// How an object is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// It is new.
    Create,
    /// It was created and never applied.
    Adopt,
    Apply,
    /// It cannot be changed: the one that is there goes, and a new one comes.
    Replace,
}

/// How much of an object the API server sends back: all of it is most of the cost where it is large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Whole,
    Metadata,
}

impl Writer<'_> {
    /// Writes `child`; what the API server answers, as JSON.
    pub(super) async fn write(&self, child: &Child, answer: Answer) -> Result<String, Failure> {
        let verb = match child.way {
            Way::Create => "create",
            Way::Replace => "replace",
            Way::Adopt | Way::Apply => "patch",
        };
        let span = traces::apply(verb, &child.kind, &child.name);
        traces::within(span, self.write_now(child, answer)).await
    }

    async fn write_now(&self, child: &Child, answer: Answer) -> Result<String, Failure> {
        let written = match child.way {
            Way::Create => match self.create(child, answer).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    self.take_over(child).await?;
                    self.apply_now(child, answer).await
                }
                created => created,
            },
            Way::Adopt => {
                self.adopt(child).await?;
                self.apply_now(child, answer).await
            }
            Way::Apply => self.apply_now(child, answer).await,
            Way::Replace => {
                self.remove(child).await?;
                self.create(child, answer).await
            }
        };
        let verb = match child.way {
            Way::Create | Way::Replace => "creating",
            Way::Adopt | Way::Apply => "applying",
        };
        let written = written.map_err(|error| failure(verb, child, error))?;
        self.note_write(&child.kind);
        Ok(written)
    }

    async fn create(&self, child: &Child, answer: Answer) -> kube::Result<String> {
        let params = PostParams {
            field_manager: Some(labels::OPERATOR_NAME.to_owned()),
            ..PostParams::default()
        };
        let body = child.wanted.to_string().into_bytes();
        self.send(self.request(&child.kind).create(&params, body), answer)
            .await
    }

    async fn apply_now(&self, child: &Child, answer: Answer) -> kube::Result<String> {
        let params = PatchParams::apply(labels::OPERATOR_NAME).force();
        let patch = Patch::Apply(&child.wanted);
        let request = self
            .request(&child.kind)
            .patch(&child.name, &params, &patch);
        self.send(request, answer).await
    }

    /// The name is taken, by a child that the cache did not show yet, or by an object that somebody else made: that one
    /// stays as it is.
    async fn take_over(&self, child: &Child) -> Result<(), Failure> {
        if let Some(existing) = self.metadata(child).await? {
            self.is_ours(&Identity::of(&existing), &child.kind, &child.name)?;
            self.declare_applied(child, &existing).await?;
        }
        Ok(())
    }

    async fn remove(&self, child: &Child) -> Result<(), Failure> {
        let Some(existing) = self.metadata(child).await? else {
            return Ok(());
        };
        let existing = Identity::of(&existing);
        self.is_ours(&existing, &child.kind, &child.name)?;
        self.delete(&child.kind, &[Cow::Owned(existing)]).await
    }

    async fn adopt(&self, child: &Child) -> Result<(), Failure> {
        match self.metadata(child).await? {
            Some(existing) => self.declare_applied(child, &existing).await,
            None => Ok(()),
        }
    }

    async fn declare_applied(&self, child: &Child, existing: &ObjectMeta) -> Result<(), Failure> {
        let fields = existing.managed_fields.as_deref().unwrap_or_default();
        let Some(fields) = adopted(fields) else {
            return Ok(());
        };
        // With the version, fields that somebody takes in the meantime are not given back.
        let patch = json!({"metadata": {
            "resourceVersion": existing.resource_version,
            "managedFields": fields,
        }});
        let params = PatchParams::apply(labels::OPERATOR_NAME);
        self.api(&child.kind)
            .patch_metadata(&child.name, &params, &Patch::Merge(patch))
            .await
            .map_err(|error| failure("adopting", child, error))?;
        Ok(())
    }

    async fn metadata(&self, child: &Child) -> Result<Option<ObjectMeta>, Failure> {
        let existing = self.api(&child.kind).get_metadata_opt(&child.name).await;
        let existing = existing.map_err(|error| failure("reading", child, error))?;
        Ok(existing.map(|existing| existing.metadata))
    }

    /// An apply would take over an object of the same name that somebody else made, and the garbage collector would
    /// delete it with the resource.
    pub(super) fn is_ours(
        &self,
        existing: &Identity,
        kind: &ApiResource,
        name: &str,
    ) -> Result<(), Failure> {
        let (kind, name) = (kind.kind.clone(), name.to_owned());
        if existing.is_controlled_by(&self.owner.uid) {
            return Ok(());
        }
        if existing.is_left_over(self.owner) {
            return Err(Failure::Error(Error::LeftOver { kind, name }));
        }
        Err(Failure::Refused(Refusal {
            kind,
            name,
            message: "an object of this name exists already and does not belong to this resource: delete it, or give the resource another name".to_owned(),
        }))
    }

    pub(super) async fn delete(
        &self,
        kind: &ApiResource,
        orphans: &[Cow<'_, Identity>],
    ) -> Result<(), Failure> {
        for orphan in orphans {
            let params = DeleteParams {
                propagation_policy: Some(self.deletion.clone()),
                ..DeleteParams::default()
            };
            let params = params.preconditions(Preconditions {
                uid: Some(orphan.uid.to_string()),
                resource_version: None,
            });
            let api = self.api(kind);
            let deleting = api.delete(&orphan.name, &params);
            match traces::within(traces::apply("delete", kind, &orphan.name), deleting).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failure_of("deleting", &kind.kind, &orphan.name, error)),
                Ok(_) => self.note_write(kind),
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, request::Error>,
        answer: Answer,
    ) -> kube::Result<String> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        if answer == Answer::Metadata {
            let accept = HeaderValue::from_static(ONLY_METADATA);
            request.headers_mut().insert(ACCEPT, accept);
        }
        self.client.request_text(request).await
    }

    fn note_write(&self, kind: &ApiResource) {
        self.has_written.store(true, Ordering::Relaxed);
        self.metrics.wrote(&kind.kind);
    }

    fn request(&self, kind: &ApiResource) -> Request {
        Request::new(DynamicObject::url_path(kind, Some(self.namespace)))
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, kind)
    }
}

/// The managed fields of an object with those that this operator created declared applied; `None` where there is nothing
/// to declare.
fn adopted(fields: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let is_own = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(labels::OPERATOR_NAME)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.is_none()
    };
    // A manager applies only once.
    if fields.iter().any(|entry| is_own(entry, "Apply")) {
        return None;
    }
    let mut adopted = fields.to_vec();
    let created = adopted.iter_mut().find(|entry| is_own(entry, "Update"))?;
    created.operation = Some("Apply".to_owned());
    Some(adopted)
}

fn failure(verb: &'static str, child: &Child, error: kube::Error) -> Failure {
    failure_of(verb, &child.kind.kind, &child.name, error)
}

/// An answer that speaks of the child itself belongs into the status.
fn failure_of(verb: &'static str, kind: &str, name: &str, error: kube::Error) -> Failure {
    let (kind, name) = (kind.to_owned(), name.to_owned());
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => {
            Failure::Refused(Refusal {
                kind,
                name,
                message: status.message,
            })
        }
        source => Failure::Error(Error::Child {
            verb,
            kind,
            name,
            source: Box::new(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn entry(manager: &str, operation: &str, subresource: Option<&str>) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            subresource: subresource.map(Into::into),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_the_operator_created_counts_as_applied_and_others_keep_theirs() {
        let own = labels::OPERATOR_NAME;
        let fields = [
            entry("kubectl-edit", "Update", None),
            entry(own, "Update", Some("status")),
            entry(own, "Update", None),
        ];
        let mut expected = fields.to_vec();
        expected[2].operation = Some("Apply".into());
        assert_eq!(adopted(&fields), Some(expected));
    }

    #[test]
    fn what_was_applied_already_stays_as_it_is() {
        let own = labels::OPERATOR_NAME;
        assert_eq!(adopted(&[entry(own, "Apply", None)]), None);
        let both = [entry(own, "Update", None), entry(own, "Apply", None)];
        assert_eq!(adopted(&both), None);
        assert_eq!(adopted(&[entry("kubectl-create", "Update", None)]), None);
    }

    #[test]
    fn an_answer_about_the_child_is_shown_and_one_about_the_server_is_retried() {
        let answer = |code| {
            let status = Status {
                code,
                message: "no".into(),
                ..Status::default()
            };
            failure_of(
                "applying",
                "Service",
                "a",
                kube::Error::Api(Box::new(status)),
            )
        };
        for code in [400, 403, 422] {
            assert!(matches!(answer(code), Failure::Refused(_)), "{code}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(matches!(answer(code), Failure::Error(_)), "{code}");
        }
    }
}
