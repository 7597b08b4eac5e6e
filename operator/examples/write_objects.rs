//! Writes copies of Kubernetes objects, some at the same time: the client that `e2e/scale` creates resources with, and
//! the bare client that it compares the operator with.
//!
//! ```text
//! KUBECONFIG=admin.conf target/release/examples/write_objects --count 100 --namespace team --prefix a --apply <objects.json
//! ```
//! The input is a JSON list of objects; in each copy the text NAME stands for the copy's name. It prints the seconds
//! that everything took.
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use std::{error::Error, io, time::Instant};

/// Writes copies of the objects on standard input.
#[derive(Parser)]
struct Flags {
    /// How many copies.
    #[arg(long)]
    count: usize,
    /// Copies that are written at the same time; the objects of one follow each other.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Where.
    #[arg(long)]
    namespace: String,
    /// A copy's name is this and its number.
    #[arg(long)]
    prefix: String,
    /// By server-side apply, as the operator writes its children, instead of by a plain creation.
    #[arg(long)]
    apply: bool,
}

const FIELD_MANAGER: &str = "write-objects";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let objects = io::read_to_string(io::stdin())?;
    let client = Client::try_default().await?;
    let began = Instant::now();
    stream::iter(0..flags.count)
        .map(Ok)
        .try_for_each_concurrent(flags.concurrency, |number| {
            write_copy(&client, &flags, &objects, number)
        })
        .await?;
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

async fn write_copy(
    client: &Client,
    flags: &Flags,
    objects: &str,
    number: usize,
) -> Result<(), Box<dyn Error>> {
    let text = objects.replace("NAME", &format!("{}{number}", flags.prefix));
    let objects: Vec<DynamicObject> = serde_json::from_str(&text)?;
    for object in objects {
        let types = object.types.as_ref().ok_or("an object without a kind")?;
        let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &flags.namespace, &kind);
        if flags.apply {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            api.patch(&object.name_any(), &params, &Patch::Apply(&object))
                .await?;
        } else {
            api.create(&PostParams::default(), &object).await?;
        }
    }
    Ok(())
}
