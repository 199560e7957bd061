//! What can be found in a data directory, and how bad it is.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is lost or does not work.
    Error,
    /// Something may not work before long, or has a way around it.
    Warning,
    /// Nothing is wrong.
    Note,
}

/// What was found, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A restore into the directory broke off.
    RestoreIncomplete,
    /// There is no database.
    DatabaseMissing,
    /// The database can't be opened, or is none.
    DatabaseUnreadable,
    /// Pages of the database are damaged.
    DatabaseDamaged,
    /// Only an index of the database is damaged.
    IndexDamaged,
    /// A newer program has migrated the database.
    SchemaNewer,
    /// A migration of the database broke off.
    SchemaBroken,
    /// The next server brings the database up to date.
    SchemaOlder,
    /// A row refers to one that is not there.
    ReferenceBroken,
    /// Rows can't be read.
    RowsUnreadable,
    /// The file of an image is missing.
    ImageMissing,
    /// The file of an image is damaged.
    ImageDamaged,
    /// An image has a class that its dataset has not.
    ImageLabel,
    /// A job has no folder.
    JobFolderMissing,
    /// A job's spec is missing or damaged.
    JobSpec,
    /// A job's list of images is missing or damaged.
    JobManifest,
    /// Images that a job needs, and no dataset has any more, are missing or damaged.
    JobImages,
    /// The state of a job is damaged.
    CheckpointDamaged,
    /// The weights or the head that a job begins with are missing or damaged.
    JobWeights,
    /// The file of a model is missing.
    ModelMissing,
    /// The file of a model is damaged.
    ModelDamaged,
    /// A model answers otherwise than when it was made, or can't be read by this program.
    ModelUnusable,
    /// The model that a person pinned can't answer.
    PinnedModel,
    /// The VGG16 weights are damaged.
    WeightsDamaged,
    /// Decoded images are damaged.
    CacheDamaged,
    /// A file of a backup is missing or damaged.
    BackupFile,
    /// A folder or file can't be read or written.
    Permissions,
    /// Files belong to several users.
    Owner,
    /// There is little room left.
    LowSpace,
    /// Files that nothing refers to.
    Unreferenced,
    /// Files that were set aside.
    SetAside,
}

impl Code {
    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::SchemaOlder | Self::Unreferenced | Self::SetAside => Severity::Note,
            Self::CacheDamaged | Self::LowSpace | Self::Owner | Self::IndexDamaged => {
                Severity::Warning
            }
            _ => Severity::Error,
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for programs.
    pub code: Code,
    /// What it is, for people.
    pub detail: String,
    /// What to do about it.
    pub advice: String,
    /// Whether `--repair` would mend it.
    pub repairable: bool,
    /// Whether it was mended.
    pub repaired: bool,
    /// What was done about it, whether or not that mended it.
    pub done: Option<String>,
}

impl Finding {
    pub(super) const fn new(code: Code, detail: String, advice: String) -> Self {
        let severity = code.severity();
        Self { severity, code, detail, advice, repairable: false, repaired: false, done: None }
    }

    /// Notes what was done about it, or that it could be.
    pub(super) fn repairable(&mut self, done: Option<String>) {
        self.repairable = true;
        self.repaired = done.is_some();
        self.done = done;
    }
}
