//! Lines that break, servers that are busy, lie or refuse.
use super::{
    site::{cut, redirect, sha256, stall, status, tag},
    *,
};
use axum::http::header;

#[tokio::test]
async fn a_line_that_breaks_is_gone_on_with_where_it_broke() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0 => cut(&weights(), ask, 70_000),
        1 => cut(&weights(), ask, 50_000),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(replica.fetched().await == weights());
    let asked = site.asked();
    let from: Vec<_> = asked.iter().map(Ask::first_byte).collect();
    assert_eq!(from, [None, Some(70_000), Some(120_000)]);
    assert_eq!(
        asked[1].header(header::IF_RANGE),
        Some(&*tag(&weights())),
        "and only as the same file"
    );
    assert_eq!(replica.problems(), [], "that is nobody's concern");
}

#[tokio::test]
async fn a_process_that_is_stopped_leaves_a_beginning_for_the_next() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0 => stall(&weights(), ask, 70_000),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    let part = || {
        let folder = fs::read_dir(cache.path()).unwrap().next()?;
        let part = folder.unwrap().path().join("files/a.gguf.part");
        Some(fs::metadata(part).ok()?.len())
    };
    let stopped = async {
        while part() != Some(70_000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = replica.locate() => panic!("it stalls"),
        () = stopped => {}
    }
    let next = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(next.fetched().await == weights());
    assert_eq!(site.asked()[1].first_byte(), Some(70_000));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_again_for_the_rest() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0 => stall(&weights(), ask, 30_000),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(replica.fetched().await == weights());
    assert_eq!(site.asked()[1].first_byte(), Some(30_000));
}

#[tokio::test]
async fn a_file_that_became_another_in_between_is_fetched_anew() {
    let cache = tempfile::tempdir().unwrap();
    let newer = || weights().into_iter().rev().collect::<Vec<_>>();
    let site = Site::new(move |ask| match ask.before {
        0 => cut(&weights(), ask, 70_000),
        _ => file(&newer(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(replica.fetched().await == newer());
}

#[tokio::test]
async fn a_length_that_is_a_lie_is_not_believed_and_told_while_it_is_tried_again() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| {
        // It promises all, and has the half.
        match (ask.before, ask.first_byte()) {
            (8.., _) => file(&weights(), ask),
            (_, Some(100_000)) => status(416),
            _ => cut(
                &weights(),
                ask,
                100_000 - ask.first_byte().unwrap_or_default(),
            ),
        }
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(replica.fetched().await == weights());
    assert_eq!(replica.problems().first(), Some(&LoadFailure::Unreachable));
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    for busy in [429, 500, 503] {
        let cache = tempfile::tempdir().unwrap();
        let site = Site::new(move |ask| match ask.before {
            0..4 => status(busy),
            _ => file(&weights(), ask),
        })
        .await;
        let replica = Replica::new(cache.path(), &site.url("a.gguf"));
        assert!(replica.fetched().await == weights());
        let problems = replica.problems();
        assert!(problems.contains(&LoadFailure::Unreachable), "{busy}");
        let last = replica.told.lock().unwrap().last().unwrap().clone();
        assert_eq!(last.problem, None, "it is over");
    }
}

#[tokio::test]
async fn nobody_there_is_told_and_waited_for() {
    let cache = tempfile::tempdir().unwrap();
    let replica = Replica::new(cache.path(), "http://127.0.0.1:1/a.gguf");
    let told = async {
        while replica.problems().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = replica.locate() => panic!("nobody is there"),
        () = told => {}
    }
}

#[tokio::test]
async fn a_refusal_has_its_reason_and_names_the_secret() {
    for (code, reason) in [
        (404, LoadFailure::ModelNotFound),
        (401, LoadFailure::ModelAccessDenied),
        (403, LoadFailure::ModelAccessDenied),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let site = Site::new(move |_| status(code)).await;
        let bare = Replica::new(cache.path(), &site.url("a.gguf"));
        let error = bare.refused().await;
        assert_eq!(error.reason(), reason, "{error}");
        assert_eq!(site.count(), 1, "asking again does not help");
        if reason == LoadFailure::ModelAccessDenied {
            let message = error.to_string();
            assert!(message.contains("set model.credentials"), "{message}");
            let with = Replica::new(cache.path(), &site.url("a.gguf"))
                .with("CANDLEPOWER_CREDENTIALS_SECRET", "door")
                .with("CANDLEPOWER_CREDENTIAL_token", "wrong");
            let message = with.refused().await.to_string();
            assert!(message.contains("the Secret door"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_token_does_not_follow_to_another_host() {
    let cache = tempfile::tempdir().unwrap();
    let elsewhere = Site::new(|ask| file(&weights(), ask)).await;
    let target = elsewhere.url("a.gguf");
    let site = Site::new(move |_| redirect(&target)).await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"))
        .with("CANDLEPOWER_CREDENTIAL_token", "secret");
    assert!(replica.fetched().await == weights());
    let shown = |site: &Site| {
        site.asked()[0]
            .header(header::AUTHORIZATION)
            .map(str::to_owned)
    };
    assert_eq!(shown(&site), Some("Bearer secret".to_owned()));
    assert_eq!(shown(&elsewhere), None);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0..12 => redirect("/a.gguf"),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    assert!(replica.fetched().await == weights());
}

#[tokio::test]
async fn a_checksum_is_computed_on_the_way() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0 => cut(&weights(), ask, 70_000),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    let located = replica.locate().await.unwrap();
    assert_eq!(located.sha256, Some(sha256(&weights())));
    let again = replica.locate().await.unwrap();
    assert_eq!(again.sha256, None, "it is computed anew from what is kept");
}
