//! The users of a scheduler: who says the truth about himself, and what he may do. The file is looked at again once a second at most, when
//! somebody asks; one that cannot be used leaves everything as it was and is told in the log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use gateway::{Authorizer, Permission};
use scheduler::Principal;
use sha2::{Digest, Sha256};

use crate::ini::{self, Accounts, IniError};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Passwords that were right are remembered, hashed with a salt of this process, up to so many.
const REMEMBERED_MAX: usize = 10_000;

/// Whether a caller is who he says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// He is.
    Is(Principal),
    /// No such user, or another password.
    IsNot,
}

/// What says that a file is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

struct Current {
    accounts: Arc<Accounts>,
    /// Right passwords, so that a slow hash is worked out once.
    remembered: BTreeSet<[u8; 32]>,
}

/// Users, roles and permissions of one file.
pub struct Realm {
    path: PathBuf,
    salt: [u8; 32],
    current: RwLock<Current>,
    /// When the file was last looked at, and what it was then.
    looked: Mutex<(Instant, Seen)>,
    refusals: AtomicU64,
    failures: AtomicU64,
}

impl Realm {
    /// Reads the file. `salt` is drawn by the caller, once per process.
    pub fn load(path: &Path, salt: [u8; 32]) -> Result<Self, IniError> {
        let seen = see(path)?;
        let accounts = read(path)?;
        tell_weaknesses(path, &accounts);
        Ok(Self {
            path: path.to_owned(),
            salt,
            current: RwLock::new(Current { accounts: Arc::new(accounts), remembered: BTreeSet::new() }),
            looked: Mutex::new((Instant::now(), seen)),
            refusals: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Whether the caller is this user. May take as long as the hash of the password wants: do not block others by it.
    pub fn authenticate(&self, name: &str, password: &str) -> Verdict {
        self.look(Instant::now());
        let word = self.word(name, password);
        let (accounts, known) = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&current.accounts), current.remembered.contains(&word))
        };
        let is = match accounts.users.get(name) {
            Some(_) if known => true,
            Some(user) => user.password.matches(password),
            // As slow as for a user that there is, so that the time does not tell who has an account.
            None => {
                let slowest = accounts.users.values().map(|user| &user.password).find(|stored| !stored.is_plain());
                let _ = slowest.map(|stored| stored.matches(password));
                false
            }
        };
        if !is {
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(user = %name.escape_debug(), "refused: unknown user or wrong password");
            return Verdict::IsNot;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Meanwhile the file may have changed.
        if Arc::ptr_eq(&current.accounts, &accounts) && current.remembered.len() < REMEMBERED_MAX {
            current.remembered.insert(word);
        }
        Verdict::Is(Principal { name: name.to_owned() })
    }

    /// Numbers for the statistics: refusals of what users may not do, and failed logins.
    pub fn statistics(&self) -> Vec<(String, i64)> {
        let number = |counter: &AtomicU64| i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        vec![
            ("shiro_authorization_failures".into(), number(&self.refusals)),
            ("shiro_authentication_failures".into(), number(&self.failures)),
        ]
    }

    fn word(&self, name: &str, password: &str) -> [u8; 32] {
        let length = (name.len() as u64).to_le_bytes();
        Sha256::new()
            .chain_update(self.salt)
            .chain_update(length)
            .chain_update(name)
            .chain_update(password)
            .finalize()
            .into()
    }

    /// Takes up a changed file.
    fn look(&self, now: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(looked.0) < LOOK_INTERVAL {
            return;
        }
        looked.0 = now;
        let seen = match see(&self.path) {
            Ok(seen) if seen != looked.1 => seen,
            _ => return,
        };
        // A file that cannot be used is told once, not every second.
        looked.1 = seen;
        match read(&self.path) {
            Ok(accounts) => {
                tell_weaknesses(&self.path, &accounts);
                let users = accounts.users.len();
                tracing::info!("users and roles were read again from {}: {users} users", self.path.display());
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Current { accounts: Arc::new(accounts), remembered: BTreeSet::new() };
            }
            Err(error) => tracing::error!("users and roles stay as they were: {error}"),
        }
    }
}

impl Authorizer for Realm {
    fn requires_login(&self) -> bool {
        true
    }

    fn permits(&self, principal: &Principal, permission: &Permission) -> bool {
        self.look(Instant::now());
        let accounts = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).accounts);
        let wanted = permission.to_string();
        let roles = accounts.users.get(&principal.name).map(|user| user.roles.as_slice()).unwrap_or_default();
        let grants = roles.iter().filter_map(|role| accounts.roles.get(role)).flatten();
        let is = grants.into_iter().any(|grant| grant.implies(&wanted));
        if !is {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(principal = %principal.name.escape_debug(), permission = %wanted, "refused: no role permits it");
        }
        is
    }
}

fn see(path: &Path) -> Result<Seen, IniError> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).map_err(|error| IniError::Io(path.display().to_string(), error))?;
    Ok(Seen { modified: about.modified().ok(), length: about.len(), inode: about.ino() })
}

fn read(path: &Path) -> Result<Accounts, IniError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| IniError::Io(name.clone(), error))?;
    ini::parse(&name, &text)
}

fn tell_weaknesses(path: &Path, accounts: &Accounts) {
    use std::os::unix::fs::PermissionsExt;
    let plain: Vec<&str> =
        accounts.users.iter().filter(|(_, user)| user.password.is_plain()).map(|(name, _)| name.as_str()).collect();
    if !plain.is_empty() {
        tracing::warn!(
            "{}: the passwords of {} are not hashed. Write what `htpasswd -nB NAME` prints after the colon instead",
            path.display(),
            plain.join(", ")
        );
    }
    let mode = std::fs::metadata(path).map_or(0, |about| about.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!("{} can be read by everybody on this machine: chmod o-r it", path.display());
    }
    for (name, user) in &accounts.users {
        for role in user.roles.iter().filter(|role| !accounts.roles.contains_key(*role)) {
            tracing::warn!(
                "{}: user {name} has the role {role}, which permits nothing: it is not in [roles]",
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use model::JobKey;

    use super::*;

    const FILE: &str = "[users]\nroot = secret, admin\nbob = word, web, ghost\n\
                        [roles]\nadmin = *\nweb = thrift.AuroraSchedulerManager:*:webapp, thrift.AuroraAdmin:setQuota\n";

    fn realm(text: &str) -> (tempfile::TempDir, PathBuf, Realm) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shiro.ini");
        std::fs::write(&path, text).unwrap();
        let realm = Realm::load(&path, [7; 32]).unwrap();
        (directory, path, realm)
    }

    fn named(name: &str) -> Principal {
        Principal { name: name.into() }
    }

    fn kill(role: &str) -> Permission {
        Permission::Job { method: "killTasks", job: JobKey::new(role, "prod", "hello") }
    }

    #[test]
    fn users_are_told_from_others() {
        let (_directory, _, realm) = realm(FILE);
        for _ in 0..2 {
            assert_eq!(realm.authenticate("bob", "word"), Verdict::Is(named("bob")));
        }
        for (name, password) in [("bob", "secret"), ("bob", ""), ("eve", "word"), ("", ""), ("UNSECURE", "")] {
            assert_eq!(realm.authenticate(name, password), Verdict::IsNot, "{name}");
        }
        assert!(realm.statistics().contains(&("shiro_authentication_failures".into(), 5)));
    }

    #[test]
    fn roles_permit_what_they_say() {
        let (_directory, _, realm) = realm(FILE);
        let admin = |method| Permission::Admin { method };
        assert!(realm.permits(&named("root"), &kill("any")) && realm.permits(&named("root"), &admin("snapshot")));
        assert!(realm.permits(&named("bob"), &kill("webapp")) && realm.permits(&named("bob"), &admin("setQuota")));
        for (name, permission) in
            [("bob", kill("other")), ("bob", admin("snapshot")), ("eve", kill("webapp")), ("UNSECURE", kill("webapp"))]
        {
            assert!(!realm.permits(&named(name), &permission), "{name} {permission}");
        }
        assert!(realm.statistics().contains(&("shiro_authorization_failures".into(), 4)));
    }

    #[test]
    fn a_changed_file_counts_and_a_bad_one_does_not() {
        let (_directory, path, realm) = realm(FILE);
        let mut now = Instant::now();
        let mut look = || {
            now += LOOK_INTERVAL;
            realm.look(now);
        };
        assert!(matches!(realm.authenticate("bob", "word"), Verdict::Is(_)));
        std::fs::write(&path, "[users]\nbob = another, admin\n[roles]\nadmin = *\n").unwrap();
        look();
        assert_eq!(realm.authenticate("bob", "word"), Verdict::IsNot, "what was remembered is forgotten");
        assert!(realm.permits(&named("bob"), &kill("other")));
        std::fs::write(&path, "[users]\nbob\n").unwrap();
        look();
        assert!(matches!(realm.authenticate("bob", "another"), Verdict::Is(_)));
        std::fs::remove_file(&path).unwrap();
        look();
        assert!(matches!(realm.authenticate("bob", "another"), Verdict::Is(_)));
        std::fs::write(&path, "[users]\n").unwrap();
        look();
        assert_eq!(realm.authenticate("bob", "another"), Verdict::IsNot);
        assert!(!realm.permits(&named("bob"), &kill("other")), "a user that is gone may do nothing any more");
    }
}
