//! The token goes to the hub and nowhere else.

use stepsynth_datasets::hub::Hub;

use super::server::{Fault, TestHub};
use super::{bert, settings, storage_path, weights};

const TOKEN: &str = "hf_verysecret";

#[test]
fn the_token_is_sent_to_the_endpoint_alone() {
    let (hub, cache, content) = (TestHub::start(), tempfile::tempdir().unwrap(), weights(1000));
    bert(&hub, &content);
    let client = Hub::new(settings(&hub, cache.path(), &[("HF_TOKEN", TOKEN)]));
    client.fetch_model(&"bert".parse().unwrap(), None, &()).unwrap();
    let to_hub = hub.hub.requests();
    assert!(to_hub.len() >= 5);
    for request in to_hub {
        assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer hf_verysecret"), "{request:?}");
    }
    let to_storage = hub.storage.requests_of(&storage_path(&content));
    assert_eq!(to_storage.len(), 1);
    assert!(to_storage[0].target.ends_with("?signature=secret"));
    assert!(to_storage[0].headers.values().all(|value| !value.contains(TOKEN)), "{to_storage:?}");
}

#[test]
fn no_message_holds_the_token() {
    for status in [401, 403, 404, 429, 500, 418] {
        let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
        for _ in 0..9 {
            hub.hub.fault("/api/models/bert/revision/main", Fault::Status(status, vec![]));
        }
        let client = Hub::new(settings(&hub, cache.path(), &[("HF_TOKEN", TOKEN)]));
        let error = client.fetch_model(&"bert".parse().unwrap(), None, &()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{error:?}");
    }
}
