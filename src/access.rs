//! Who may use the server: the API tokens of the settings, and those that are created while it runs.
//!
//! Above [`crate::storage`], below [`crate::http`]. Created tokens are in memory, so that a request that
//! presents one needs no query.

use std::sync::{Arc, PoisonError, RwLock};

use rand::{
    TryRng as _,
    rngs::{SysError, SysRng},
};
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    domain::{
        Name, Timestamp, TokenId,
        access::{ApiToken, Scope},
        dataset::Digest,
        model_history::Actor,
    },
    error_chain::chain,
    storage::{self, Storage, tokens},
};

/// What created tokens begin with, so that scanners for leaked secrets recognise them.
const PREFIX: &str = "pawprint_";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Seconds between two writes of when a token was last used.
const SAVE_EVERY: i64 = 60;

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Anyone: the server requires no token.
    Anonymous,
    /// Whoever has a token of the settings: may do everything.
    Operator,
    /// Whoever has a token that was created for these scopes.
    Token {
        /// The token's name.
        name: Name,
        /// What it may be used for.
        scopes: Vec<Scope>,
    },
}

impl Caller {
    /// Whether this caller may send a request that needs `scope`; `None` is for what only tokens of
    /// the settings allow.
    #[must_use]
    pub fn may(&self, scope: Option<Scope>) -> bool {
        match self {
            Self::Anonymous | Self::Operator => true,
            Self::Token { scopes, .. } => scope.is_some_and(|scope| scopes.contains(&scope)),
        }
    }

    /// The name of the token, if it is one that was created.
    #[must_use]
    pub const fn token(&self) -> Option<&Name> {
        match self {
            Self::Token { name, .. } => Some(name),
            Self::Anonymous | Self::Operator => None,
        }
    }
}

impl From<Caller> for Actor {
    fn from(caller: Caller) -> Self {
        match caller {
            Caller::Anonymous => Self::Anonymous,
            Caller::Operator => Self::Operator,
            Caller::Token { name, .. } => Self::Token { name },
        }
    }
}

/// Why a token can't be created or revoked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Created tokens restrict nothing where none is required.
    #[error(
        "this server requires no API token, so a created one would restrict nothing: set PAWPRINT_API_TOKEN and restart the server"
    )]
    Open,
    /// It would be good for nothing.
    #[error("a token needs at least one scope: predict, read or write")]
    NoScope,
    /// There is no such token.
    #[error("there is no token `{0}`")]
    NoSuchToken(String),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random(#[from] SysError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// The tokens of a server.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// SHA-256 of each token of the settings.
    configured: Vec<Digest>,
    created: RwLock<Vec<Created>>,
    storage: Storage,
}

#[derive(Debug)]
struct Created {
    row: tokens::Row,
    /// The last use that is in the database.
    saved: Option<Timestamp>,
}

impl Access {
    /// The tokens of the settings and of the database.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open(configured: &[String], storage: Storage) -> Result<Self, storage::Error> {
        let access = Self::configured(configured, storage);
        let rows = tokens::all(&mut *access.0.storage.read().await?).await?;
        let created = rows.into_iter().map(|row| Created { saved: row.token.last_used_at, row });
        access.write_created(|all| all.extend(created));
        Ok(access)
    }

    /// Only the tokens of the settings.
    #[must_use]
    pub fn configured(tokens: &[String], storage: Storage) -> Self {
        let configured = tokens.iter().map(|token| Digest::of(token.as_bytes())).collect();
        Self(Arc::new(Inner { configured, created: RwLock::default(), storage }))
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn requires_token(&self) -> bool {
        !self.0.configured.is_empty()
    }

    /// Who presents `token`; `None` if it is unknown. Notes that it is used, in a task of the current
    /// runtime.
    #[must_use]
    pub fn authenticate(&self, token: &str) -> Option<Caller> {
        // Hashes of all tokens are compared in constant time: the time of a refusal must not reveal how
        // much of a guess was right.
        let presented = Digest::of(token.as_bytes());
        let same = |known: &Digest| known.0.ct_eq(&presented.0);
        let is_operator =
            self.0.configured.iter().fold(Choice::from(0), |any, known| any | same(known));
        let now = Timestamp::now();
        let (caller, unsaved) = self.write_created(|created| {
            let mut found = None;
            for known in created {
                if bool::from(same(&known.row.sha256)) {
                    found = Some(known);
                }
            }
            let Some(known) = found else { return (None, None) };
            let ApiToken { id, name, scopes, last_used_at, .. } = &mut known.row.token;
            *last_used_at = Some(now);
            let is_old = |saved: Timestamp| now.duration_since(saved).as_secs() >= SAVE_EVERY;
            let unsaved = known.saved.is_none_or(is_old).then_some(*id);
            if unsaved.is_some() {
                known.saved = Some(now);
            }
            (Some(Caller::Token { name: name.clone(), scopes: scopes.clone() }), unsaved)
        });
        if let Some(id) = unsaved {
            tokio::spawn(save_use(self.0.storage.clone(), id, now));
        }
        if bool::from(is_operator) { Some(Caller::Operator) } else { caller }
    }

    /// Creates a token for `scopes`: what is known of it, and its secret, which is not stored.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NoScope`], or the name is taken.
    pub async fn create(
        &self,
        name: Name,
        mut scopes: Vec<Scope>,
    ) -> Result<(ApiToken, String), Error> {
        if !self.requires_token() {
            return Err(Error::Open);
        }
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Error::NoScope);
        }
        let mut bytes = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut bytes)?;
        let secret = format!("{PREFIX}{}", hex::encode(bytes));
        let (id, created_at) = (TokenId::new(), Timestamp::now());
        let token = ApiToken { id, name, scopes, created_at, last_used_at: None };
        let row = tokens::Row { token: token.clone(), sha256: Digest::of(secret.as_bytes()) };
        let mut transaction = self.0.storage.write().await?;
        tokens::insert(&mut transaction, &row).await?;
        transaction.commit().await.map_err(storage::Error::from)?;
        self.write_created(|all| all.push(Created { row, saved: None }));
        Ok((token, secret))
    }

    /// The created tokens, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<ApiToken> {
        let created = self.0.created.read().unwrap_or_else(PoisonError::into_inner);
        created.iter().map(|known| known.row.token.clone()).collect()
    }

    /// Revokes the token of that id or name: from then on it is refused, also by servers to come.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], or the database failed.
    pub async fn revoke(&self, id_or_name: &str) -> Result<(), Error> {
        let is_meant =
            |token: &ApiToken| *token.name == *id_or_name || token.id.to_string() == id_or_name;
        let Some(token) = self.list().into_iter().find(is_meant) else {
            return Err(Error::NoSuchToken(id_or_name.to_owned()));
        };
        // Refused at once, even if the database takes long or fails.
        let revoked = self.write_created(|all| {
            let at = all.iter().position(|known| known.row.token.id == token.id)?;
            Some(all.remove(at))
        });
        let Some(revoked) = revoked else {
            return Err(Error::NoSuchToken(id_or_name.to_owned()));
        };
        let delete = async {
            let mut transaction = self.0.storage.write().await?;
            tokens::delete(&mut transaction, token.id).await?;
            Ok::<_, storage::Error>(transaction.commit().await?)
        };
        delete.await.map_err(|error| {
            // The next server would accept it.
            self.write_created(|all| all.push(revoked));
            error.into()
        })
    }

    fn write_created<T>(&self, change: impl FnOnce(&mut Vec<Created>) -> T) -> T {
        change(&mut self.0.created.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes when a token was last used. If that fails, nothing is lost but the time.
async fn save_use(storage: Storage, id: TokenId, at: Timestamp) {
    let save = async {
        let mut transaction = storage.write().await?;
        tokens::used(&mut transaction, id, at).await?;
        Ok::<_, storage::Error>(transaction.commit().await?)
    };
    if let Err(error) = save.await {
        tracing::warn!(error = chain(&error), "can't save when a token was last used");
    }
}
