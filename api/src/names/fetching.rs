//! Environment variables of the server that fetches a model: where sources are, and what opens them.
//!
//! The operator hands all keys of a Secret over with [`CREDENTIAL_PREFIX`], so that none of them can
//! set another variable of the process. Without the prefix they have the names that other tools use.

/// Stands before the keys of the Secret of `model.credentials`.
pub const CREDENTIAL_PREFIX: &str = "CANDLEPOWER_CREDENTIAL_";
/// The name of that Secret, for messages.
pub const CREDENTIALS_SECRET: &str = "CANDLEPOWER_CREDENTIALS_SECRET";

/// A token of the Hugging Face hub.
pub const HF_TOKEN: &str = "HF_TOKEN";
/// Key of a Secret: a token, for the hub or any other server that takes a bearer's token.
pub const TOKEN: &str = "token";
/// Address of a mirror of the Hugging Face hub.
pub const HF_ENDPOINT: &str = "HF_ENDPOINT";

/// Address of a server of S3's protocol, where it is not Amazon's.
pub const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
/// Its region.
pub const AWS_REGION: &str = "AWS_REGION";
/// The same, as older tools write it.
pub const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// Id of an S3 key.
pub const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The key itself.
pub const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// What belongs to a key that holds for a while only.
pub const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// User of a server or registry that wants a name and a password.
pub const USERNAME: &str = "username";
/// The password.
pub const PASSWORD: &str = "password";
