//! Who one is in ZooKeeper, and who may touch what one makes (spec executor 2.10). No connection.

use std::fmt;

use base64::Engine as _;
use serde::Deserialize;
use sha1::Digest as _;
use zookeeper_client as zk;

/// An identity to prove, e.g. of the scheme `digest` with `user:password`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `digest`, mostly.
    pub scheme: String,
    /// The proof. Never printed.
    pub secret: String,
}

impl Credential {
    /// User and password.
    pub fn digest(user: &str, password: &str) -> Self {
        Self { scheme: "digest".into(), secret: format!("{user}:{password}") }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({}, ***)", self.scheme)
    }
}

/// What a rule permits on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Read it and list what is below.
    pub read: bool,
    /// Change its content.
    pub write: bool,
    /// Make nodes below.
    pub create: bool,
    /// Remove nodes below.
    pub delete: bool,
    /// Change the rules.
    pub admin: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, create: true, delete: true, admin: true };
    /// Looking only.
    pub const READ: Self = Self { read: true, write: false, create: false, delete: false, admin: false };

    fn bits(self) -> zk::Permission {
        let mut bits = zk::Permission::NONE;
        for (has, bit) in [
            (self.read, zk::Permission::READ),
            (self.write, zk::Permission::WRITE),
            (self.create, zk::Permission::CREATE),
            (self.delete, zk::Permission::DELETE),
            (self.admin, zk::Permission::ADMIN),
        ] {
            if has {
                bits = bits | bit;
            }
        }
        bits
    }
}

/// Who may do what on a node.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// `world`, `auth`, `digest`, `ip` ...
    pub scheme: String,
    /// Whom the scheme means; for `digest` the user with the hash of the password, as ZooKeeper stores it.
    pub id: String,
    /// What they may do.
    pub permissions: Permissions,
}

impl fmt::Debug for AccessRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.id.split(':').next().unwrap_or_default();
        write!(formatter, "AccessRule({} {user}, {:?})", self.scheme, self.permissions)
    }
}

impl AccessRule {
    /// Everybody.
    pub fn world(permissions: Permissions) -> Self {
        Self { scheme: "world".into(), id: "anyone".into(), permissions }
    }

    /// Whoever proves to be the user with the password.
    pub fn digest(user: &str, password: &str, permissions: Permissions) -> Self {
        let hash = sha1::Sha1::digest(format!("{user}:{password}").as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        Self { scheme: "digest".into(), id: format!("{user}:{hash}"), permissions }
    }

    /// Everybody reads; whoever made the node does everything. For users with a credential.
    pub fn read_all_creator_all() -> Vec<Self> {
        let creator = Self { scheme: "auth".into(), id: String::new(), permissions: Permissions::ALL };
        vec![Self::world(Permissions::READ), creator]
    }

    /// Everybody does everything: what ZooKeeper is used with where nothing is said.
    pub fn open() -> Vec<Self> {
        vec![Self::world(Permissions::ALL)]
    }

    pub(crate) fn to_acl(&self) -> zk::Acl {
        zk::Acl::new(self.permissions.bits(), zk::AuthId::new(&self.scheme, &self.id))
    }
}

/// The file with which an executor is told its identities and rules (`--announcer-zookeeper-auth-config`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthFile {
    /// Identities to prove.
    pub credentials: Vec<Credential>,
    /// Rules of the nodes that are made; empty means that everybody may do everything.
    pub rules: Vec<AccessRule>,
}

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// It cannot be read.
    #[error("the ZooKeeper authentication file {path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It says something else.
    #[error(
        "the ZooKeeper authentication file {path} is wrong: {why}. It must hold {{\"auth\": [{{\"scheme\": \"digest\", \"credential\": \"user:password\"}}], \
         \"acl\": [{{\"scheme\": \"digest\", \"credential\": \"user:password\", \"permissions\": {{\"read\": true}}}}]}}"
    )]
    Malformed {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    auth: Vec<AuthEntry>,
    #[serde(default)]
    acl: Vec<AclEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthEntry {
    scheme: String,
    credential: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AclEntry {
    scheme: String,
    credential: String,
    permissions: Permissions,
}

impl AuthFile {
    /// Reads a file.
    pub fn load(path: &std::path::Path) -> Result<Self, AuthFileError> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| AuthFileError::Unreadable { path: name.clone(), source })?;
        Self::parse(&text).map_err(|why| AuthFileError::Malformed { path: name, why })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        // As a map first: else a list would do too.
        let keys: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let document = Document::deserialize(serde_json::Value::Object(keys)).map_err(|error| error.to_string())?;
        let credentials = document
            .auth
            .into_iter()
            .map(|entry| Credential { scheme: entry.scheme, secret: entry.credential })
            .collect();
        let rules = document.acl.iter().map(AclEntry::rule).collect::<Result<_, _>>()?;
        Ok(Self { credentials, rules })
    }
}

impl AclEntry {
    fn rule(&self) -> Result<AccessRule, String> {
        if self.scheme != "digest" {
            let (scheme, id) = (self.scheme.clone(), self.credential.clone());
            return Ok(AccessRule { scheme, id, permissions: self.permissions });
        }
        match self.credential.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(AccessRule::digest(user, password, self.permissions))
            }
            _ => Err("the credential of an acl with the scheme digest must be user:password".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"auth": [{"scheme": "digest", "credential": "user:pass"}],
        "acl": [{"scheme": "digest", "credential": "user:pass", "permissions": {"read": true, "admin": true}},
                {"scheme": "world", "credential": "anyone", "permissions": {"read": true}}]}"#;

    #[test]
    fn a_good_file() {
        let file = AuthFile::parse(GOOD).unwrap();
        assert_eq!(file.credentials, [Credential::digest("user", "pass")]);
        // The well-known hash of user:pass.
        assert_eq!(file.rules[0].id, "user:smGaoVKd/cQkjm7b88GyorAUz20=");
        let expected = Permissions { read: true, admin: true, ..Permissions::default() };
        assert_eq!(file.rules[0].permissions, expected);
        assert_eq!(file.rules[1], AccessRule::world(Permissions::READ));
        assert!(!format!("{file:?}").contains("pass"), "{file:?}");
    }

    #[test]
    fn a_wrong_file_is_refused_without_repeating_its_secrets() {
        for bad in [
            "",
            "[]",
            r#"{"auth": [{"scheme": "digest"}]}"#,
            r#"{"auths": []}"#,
            r#"{"auth": [{"scheme": "digest", "credential": "u:topsecret", "more": 1}]}"#,
            r#"{"acl": [{"scheme": "digest", "credential": "topsecret", "permissions": {}}]}"#,
            r#"{"acl": [{"scheme": "digest", "credential": "u:topsecret"}]}"#,
            r#"{"acl": [{"scheme": "digest", "credential": "u:topsecret", "permissions": {"all": true}}]}"#,
        ] {
            let error = AuthFile::parse(bad).unwrap_err();
            assert!(!error.contains("topsecret"), "{bad}: {error}");
        }
        let error = AuthFile::load(std::path::Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
        assert_eq!(AuthFile::parse("{}"), Ok(AuthFile::default()));
    }
}
