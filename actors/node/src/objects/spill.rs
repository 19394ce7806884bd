//! Objects of the arena on disk: what is written there when others need the room, and what becomes of its file.
//!
//! ```text
//!   in the arena ─chosen─► being written ─► on disk ─fetched─► in the arena, under another name
//!         ▲                     │              └─cannot be read─► lost: made again, or failed
//!         └─used, or failed ────┘
//! ```
//!
//! Invariants: what is being written is pinned; a file stays exactly as long as a record is there, a fetch reads it, or another worker
//! does, straight from there; all files of a node, those being written included, are within its limit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ObjectId, object_owner};
use tandem_arena::Holder;

use super::{Object, ObjectEvent, ObjectState, Stored};
use crate::action::{Action, SpillFile};
use crate::context::Context;
use crate::job::Job;
use crate::timers::{Timer, Timestamp};

/// After a write that failed none begins for so long.
const PAUSE_MS: u64 = 1_000;
/// At least this share of an extent is written at once.
const BATCH_SHARE: u64 = 4;

/// What a job has on disk, and what goes there.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    /// The objects that have their bytes in the arena, behind their names there.
    named: BTreeSet<(ObjectId, ObjectId)>,
    writing: BTreeMap<SpillFile, Writing>,
    files: BTreeMap<SpillFile, File>,
    paused_until: Timestamp,
    /// Why there is no room on disk.
    refused: Option<String>,
}

/// An object that is being written.
#[derive(Debug)]
struct Writing {
    name: ObjectId,
    bytes: u64,
}

#[derive(Debug)]
struct File {
    bytes: u64,
    /// What the bytes were called in the arena.
    name: ObjectId,
    /// Objects that are in it, fetches and other workers that read it.
    users: u32,
}

impl Spill {
    /// The bytes of an object are in the arena under this name.
    pub(crate) fn named(&mut self, name: ObjectId, object: ObjectId) {
        self.named.insert((name, object));
    }

    /// They are not any more, or the object is gone.
    pub(crate) fn unnamed(&mut self, name: ObjectId, object: ObjectId) {
        self.named.remove(&(name, object));
    }

    fn objects_of(&self, name: ObjectId) -> impl Iterator<Item = ObjectId> {
        let all = (name, ObjectId(0))..=(name, ObjectId(u128::MAX));
        self.named.range(all).map(|(_, object)| *object)
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Why objects cannot go to disk, if that is so.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}

impl Job {
    /// Chooses objects to write to disk, so that there is room for `bytes`.
    pub(crate) fn make_room(&mut self, cx: &mut Context<'_>, bytes: u64) {
        let limit = cx.config.spill_limit_bytes;
        if limit == 0 || self.spill.is_writing() || self.spill.paused_until > cx.now {
            return;
        }
        let left = limit.saturating_sub(cx.shared.spilled_bytes);
        let useful = bytes.max(cx.config.arena.extent_bytes / BATCH_SHARE);
        let names = self.arena.victims(bytes, useful, left, |name| self.may_spill(name));
        if names.is_empty() && left < bytes {
            self.spill.refused = Some(format!("the limit of {limit} bytes on disk is reached"));
        }
        for name in names {
            let Ok(from) = self.arena.pin(Holder::Worker, name) else { continue };
            let file = cx.new_spill_file();
            cx.shared.spilled_bytes += from.length;
            self.spill.writing.insert(file, Writing { name, bytes: from.length });
            cx.act(Action::Spill { job: self.id, file, from });
        }
    }

    /// Whether nobody has an object of the arena but the records here.
    fn may_spill(&self, name: ObjectId) -> bool {
        let records = self.spill.objects_of(name).count() as u64;
        records > 0 && self.arena.pins(name) == records
    }

    /// An object was written, or could not be. It stays where it was if someone has begun to use it.
    pub(crate) fn spilled(&mut self, cx: &mut Context<'_>, file: SpillFile, outcome: Result<(), String>) {
        let Some(Writing { name, bytes }) = self.spill.writing.remove(&file) else { return };
        self.unpin(Holder::Worker, name);
        self.space.freed = true;
        if let Err(why) = outcome {
            cx.shared.spilled_bytes -= bytes;
            self.spill.refused = Some(why);
            self.spill.paused_until = cx.now.after(PAUSE_MS);
            return cx.timer(PAUSE_MS, self.id, Timer::Space);
        }
        self.spill.refused = None;
        self.spill.files.insert(file, File { bytes, name, users: 1 });
        if self.is_running() && self.may_spill(name) {
            for object in self.spill.objects_of(name).collect::<Vec<_>>() {
                self.move_to_disk(name, object, file);
            }
        }
        self.let_go_file(cx, file);
    }

    fn move_to_disk(&mut self, name: ObjectId, object: ObjectId, file: SpillFile) {
        let Some(record) = self.objects.get_mut(&object) else { return };
        if record.state.apply(ObjectEvent::Spilled(file)).is_ok() {
            self.spill.unnamed(name, object);
            self.unpin(Holder::Worker, name);
            self.hold_file(file);
        }
    }

    /// An object, a fetch or another worker uses a file. What its bytes were called in the arena; none: there is no such file.
    pub(crate) fn hold_file(&mut self, file: SpillFile) -> Option<ObjectId> {
        let entry = self.spill.files.get_mut(&file)?;
        entry.users += 1;
        Some(entry.name)
    }

    /// The value of an object that is here, for one record more.
    pub(crate) fn stored_again(&mut self, object: ObjectId) -> Option<Stored> {
        let mut stored = self.objects.get(&object)?.stored()?.clone();
        stored.keeper = None;
        stored.forget_remote();
        if let Some(name) = stored.name() {
            // Every record that has it pins it once.
            let _ = self.arena.pin(Holder::Worker, name);
        }
        stored.file().into_iter().for_each(|file| _ = self.hold_file(file));
        Some(stored)
    }

    /// It does so no more.
    pub(crate) fn let_go_file(&mut self, cx: &mut Context<'_>, file: SpillFile) {
        let Some(entry) = self.spill.files.get_mut(&file) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            cx.shared.spilled_bytes -= entry.bytes;
            self.spill.files.remove(&file);
            cx.act(Action::DropSpilled { file });
        }
    }

    /// The bytes of an object cannot be read from its file: it is made again, or lost.
    pub(crate) fn lost_on_disk(&mut self, cx: &mut Context<'_>, object: ObjectId, file: SpillFile, why: &str) {
        let Some(record) = self.objects.get_mut(&object) else { return };
        let Some(stored) = record.stored().filter(|stored| stored.file() == Some(file)) else { return };
        let (keeper, refs) = (stored.keeper, stored.refs.clone());
        if record.state.apply(ObjectEvent::FileLost).is_err() {
            return;
        }
        let elsewhere = record.state != ObjectState::Pending;
        let (told, held_refs) = (record.borrowed || record.kept, !elsewhere && std::mem::take(&mut record.holds_refs));
        self.let_go_file(cx, file);
        if elsewhere {
            return;
        }
        if held_refs {
            refs.iter().for_each(|inner| self.drop_use(*inner));
        }
        if let Some(keeper) = keeper.filter(|keeper| !cx.shared.lost.contains(keeper)) {
            self.peers.dropping.entry(keeper).or_default().push(object);
        }
        if object_owner(object) == self.worker {
            self.make_from_lineage(cx, object, why);
        } else if told {
            let worker = self.worker;
            self.send_peer(cx, object_owner(object), PeerBody::Unreadable { object, worker });
        }
    }

    fn make_from_lineage(&mut self, cx: &mut Context<'_>, object: ObjectId, why: &str) {
        let call = self.objects.get(&object).and_then(|record| record.call(object));
        let call = call.or_else(|| self.item_lost(cx, object));
        if call.is_some_and(|call| self.may_rebuild(call) && self.run_again(cx, call)) {
            return;
        }
        let why = format!("{why}, and it cannot be made again");
        self.break_object(object, Arc::new(Failure::new(FailureKind::ObjectLost, "", why)));
    }

    /// Whether the shell still writes or reads a file of this job.
    pub(crate) fn uses_disk(&self) -> bool {
        self.spill.is_writing() || self.fetches.values().any(super::Fetch::reads_disk)
    }

    /// The job is over, and with it its files.
    pub(crate) fn drop_files(&mut self, cx: &mut Context<'_>) {
        for (file, entry) in std::mem::take(&mut self.spill.files) {
            cx.shared.spilled_bytes -= entry.bytes;
            cx.act(Action::DropSpilled { file });
        }
    }

    /// Whether the bytes of an object are on disk here, and not in the arena.
    pub(crate) fn is_on_disk(&self, object: ObjectId) -> bool {
        self.objects.get(&object).and_then(Object::stored).and_then(Stored::file).is_some()
    }

    /// The name of an object's bytes in the arena, if they are there.
    pub(crate) fn arena_name(&self, object: ObjectId) -> Option<ObjectId> {
        self.objects.get(&object).and_then(Object::stored).and_then(Stored::name)
    }
}
