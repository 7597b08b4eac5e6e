//! Credentials and endpoints, out of the environment.
use base64::{Engine, engine::general_purpose::STANDARD};
use candlepower_api::names::fetching;
use hyper::header::HeaderValue;

/// The process's environment, or a test's.
pub(super) struct Environment(Box<Variable>);

/// The value of the variable of this name.
type Variable = dyn Fn(&str) -> Option<String>;

impl Environment {
    /// Of this process.
    pub(super) fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// What `variable` knows.
    pub(super) fn new(variable: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self(Box::new(variable))
    }

    /// A key of the Secret, or else a variable as other tools know it. Line breaks at its ends come
    /// from how the Secret was made.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let found = (self.0)(&format!("{}{name}", fetching::CREDENTIAL_PREFIX)).or_else(|| {
            // `token` and the like are the names of keys only.
            let is_variable = name.starts_with(|first: char| first.is_ascii_uppercase());
            is_variable.then(|| (self.0)(name)).flatten()
        });
        let found = found.map(|text| text.trim().to_owned());
        found.filter(|text| !text.is_empty())
    }

    /// The Secret's name, where there is one.
    pub(super) fn secret(&self) -> Option<String> {
        (self.0)(fetching::CREDENTIALS_SECRET)
    }

    /// The header for a bearer of the first of these that is there.
    pub(super) fn bearer(&self, names: &[&str]) -> Option<HeaderValue> {
        names
            .iter()
            .find_map(|name| self.get(name))
            .and_then(|token| bearer(&token))
    }

    /// The header for a name and a password, where both are there.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let name = self.get(fetching::USERNAME)?;
        let password = self.get(fetching::PASSWORD)?;
        let both = STANDARD.encode(format!("{name}:{password}"));
        let mut value = HeaderValue::from_str(&format!("Basic {both}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What to do about a refusal: `keys` are those that would open the door.
    pub(super) fn cure(&self, keys: &str) -> String {
        match self.secret() {
            Some(secret) => format!("correct the Secret {secret} of model.credentials ({keys})"),
            None => {
                format!("set model.credentials.secretRef to a Secret with what opens it ({keys})")
            }
        }
    }
}

/// The header for a token's bearer, which no log shows.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> Environment {
        Environment::new(move |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_key_of_the_secret_goes_before_a_variable() {
        let environment = environment(&[
            ("HF_TOKEN", "plain"),
            ("CANDLEPOWER_CREDENTIAL_HF_TOKEN", "secret\n"),
            ("AWS_REGION", "eu"),
            ("token", "somebody's"),
        ]);
        assert_eq!(environment.get("HF_TOKEN").unwrap(), "secret");
        assert_eq!(environment.get("AWS_REGION").unwrap(), "eu");
        assert_eq!(environment.get("token"), None);
        let header = environment.bearer(&["HF_TOKEN", "token"]).unwrap();
        assert_eq!(header, "Bearer secret");
        assert!(header.is_sensitive());
    }

    #[test]
    fn the_cure_names_the_secret_to_correct_or_to_set() {
        let without = environment(&[]).cure("HF_TOKEN");
        assert!(
            without.contains("set model.credentials.secretRef"),
            "{without}"
        );
        let with = environment(&[("CANDLEPOWER_CREDENTIALS_SECRET", "hub")]).cure("HF_TOKEN");
        assert!(with.contains("Secret hub"), "{with}");
    }
}
