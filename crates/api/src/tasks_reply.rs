//! The reply with tasks, written straight from the stored tasks into the bytes that leave: no tree of the reply ever exists, each
//! configuration is encoded once however many tasks share it, and a long reply leaves in pieces while the rest is still unwritten.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use scheduler::{Task, TaskEvent};
use thrift::convert::instance_to_wire;
use thrift::{
    AssignedTask, FieldSpec, Kind, Method, Response, ResponseCode, ResponseResult, ScheduleStatus,
    ScheduleStatusResult, ScheduledTask, ServerInfo, Write, Writer, begin_reply, end_reply,
};

/// A piece leaves once it is this long.
const PIECE_BYTES: usize = 256 << 10;
/// Encoded configurations are forgotten beyond this, so that a million different ones cost no memory.
const MAX_CACHED_BYTES: usize = 4 << 20;

/// What every piece needs.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Echoed; `None` for a reply without an envelope (plain JSON).
    pub envelope: Option<(Method, i32)>,
    /// Who answers.
    pub server_info: ServerInfo,
    /// The scheduler's host name, part of every event on the wire.
    pub scheduler_host: Arc<str>,
    /// Whether the executor's document goes along.
    pub with_executor_data: bool,
}

/// The pieces of a reply.
struct Pieces<W> {
    writer: W,
    tasks: std::vec::IntoIter<Arc<Task>>,
    frame: Frame,
    /// By the address of the shared configuration; the tasks of this reply keep them alive.
    configs: HashMap<usize, Box<[u8]>>,
    cached_bytes: usize,
    ended: bool,
}

/// A body with every task. Short ones are written at once and have a length, long ones leave in pieces.
pub fn body<W: Writer + Send + 'static>(tasks: Vec<Arc<Task>>, frame: Frame) -> Body {
    let mut pieces = Pieces::<W>::new(tasks, frame);
    let first = pieces.next().unwrap_or_default();
    if pieces.ended {
        return Body::from(first);
    }
    let all = std::iter::once(first).chain(pieces).map(Ok::<Vec<u8>, Infallible>);
    Body::from_stream(futures::stream::iter(all.map(|piece| piece.map(Bytes::from))))
}

/// One task as plain JSON, in the shape of `ScheduledTask`.
pub fn plain_json(task: &Task, scheduler_host: &str) -> Vec<u8> {
    let frame = Frame {
        envelope: None,
        server_info: ServerInfo::default(),
        scheduler_host: scheduler_host.into(),
        with_executor_data: true,
    };
    let writer = thrift::PlainWriter::with_buffer(Vec::new());
    let tasks = Vec::new().into_iter();
    let mut pieces = Pieces { writer, tasks, frame, configs: HashMap::new(), cached_bytes: 0, ended: false };
    pieces.write_scheduled(task);
    pieces.writer.into_buffer()
}

impl<W: Writer> Pieces<W> {
    fn new(tasks: Vec<Arc<Task>>, frame: Frame) -> Self {
        let mut writer = W::with_buffer(Vec::with_capacity(if tasks.len() > 64 { PIECE_BYTES + 4096 } else { 4096 }));
        if let Some((method, sequence_id)) = frame.envelope {
            begin_reply(&mut writer, method, sequence_id);
        }
        writer.struct_begin();
        field(&mut writer, FieldSpec::of(Response::FIELDS, 1), &ResponseCode::Ok);
        writer.field_begin(FieldSpec::of(Response::FIELDS, 3));
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(ResponseResult::FIELDS, 3));
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(ScheduleStatusResult::FIELDS, 1));
        writer.list_begin(Kind::Struct, tasks.len());
        Pieces { writer, tasks: tasks.into_iter(), frame, configs: HashMap::new(), cached_bytes: 0, ended: false }
    }

    fn finish(&mut self) {
        let writer = &mut self.writer;
        writer.list_end();
        writer.field_end();
        writer.struct_end();
        writer.field_end();
        writer.struct_end();
        writer.field_end();
        field(writer, FieldSpec::of(Response::FIELDS, 5), &self.frame.server_info);
        writer.field_begin(FieldSpec::of(Response::FIELDS, 6));
        writer.list_begin(Kind::Struct, 0);
        writer.list_end();
        writer.field_end();
        writer.struct_end();
        if self.frame.envelope.is_some() {
            end_reply(writer);
        }
        self.ended = true;
    }

    fn write_task(&mut self, task: &Task) {
        self.writer.element();
        self.write_scheduled(task);
    }

    fn write_scheduled(&mut self, task: &Task) {
        let writer = &mut self.writer;
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(ScheduledTask::FIELDS, 1));
        self.write_assigned(task);
        let writer = &mut self.writer;
        writer.field_end();
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 2), &ScheduleStatus::from(task.status));
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 3), &task.failure_count);
        writer.field_begin(FieldSpec::of(ScheduledTask::FIELDS, 4));
        writer.list_begin(Kind::Struct, task.events.len());
        for event in &task.events {
            writer.element();
            write_event(writer, event, &self.frame.scheduler_host);
        }
        writer.list_end();
        writer.field_end();
        if let Some(ancestor) = &task.ancestor {
            text(writer, FieldSpec::of(ScheduledTask::FIELDS, 5), ancestor.as_str());
        }
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 6), &task.times_partitioned);
        writer.struct_end();
    }

    fn write_assigned(&mut self, task: &Task) {
        let writer = &mut self.writer;
        writer.struct_begin();
        text(writer, FieldSpec::of(AssignedTask::FIELDS, 1), task.id.as_str());
        if let Some(agent_id) = &task.agent_id {
            text(writer, FieldSpec::of(AssignedTask::FIELDS, 2), agent_id);
        }
        if let Some(host) = &task.host {
            text(writer, FieldSpec::of(AssignedTask::FIELDS, 3), host);
        }
        writer.field_begin(FieldSpec::of(AssignedTask::FIELDS, 4));
        self.write_config(task);
        let writer = &mut self.writer;
        writer.field_end();
        writer.field_begin(FieldSpec::of(AssignedTask::FIELDS, 5));
        writer.map_begin(Kind::I32, task.ports.len());
        for (name, port) in &task.ports {
            writer.map_key(name);
            writer.i32(i32::from(*port));
        }
        writer.map_end();
        writer.field_end();
        field(writer, FieldSpec::of(AssignedTask::FIELDS, 6), &instance_to_wire(task.instance));
        writer.struct_end();
    }

    fn write_config(&mut self, task: &Task) {
        let address = Arc::as_ptr(&task.config) as usize;
        if let Some(encoded) = self.configs.get(&address) {
            self.writer.encoded(encoded);
            return;
        }
        let mut config = thrift::TaskConfig::from(&*task.config);
        if !self.frame.with_executor_data
            && let Some(executor) = &mut config.executor_config
        {
            executor.data = None;
        }
        let mut writer = W::new();
        config.write(&mut writer);
        let encoded = writer.into_buffer().into_boxed_slice();
        self.writer.encoded(&encoded);
        if self.cached_bytes + encoded.len() > MAX_CACHED_BYTES {
            self.configs.clear();
            self.cached_bytes = 0;
        }
        self.cached_bytes += encoded.len();
        self.configs.insert(address, encoded);
    }
}

impl<W: Writer> Iterator for Pieces<W> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        while self.writer.buffer().len() < PIECE_BYTES {
            match self.tasks.next() {
                Some(task) => self.write_task(&task),
                None => {
                    self.finish();
                    return Some(std::mem::replace(&mut self.writer, W::new()).into_buffer());
                }
            }
        }
        Some(self.writer.take_buffer(Vec::with_capacity(PIECE_BYTES + 4096)))
    }
}

fn write_event<W: Writer>(writer: &mut W, event: &TaskEvent, scheduler_host: &str) {
    writer.struct_begin();
    field(writer, FieldSpec::of(thrift::TaskEvent::FIELDS, 1), &event.timestamp_ms);
    field(writer, FieldSpec::of(thrift::TaskEvent::FIELDS, 2), &ScheduleStatus::from(event.status));
    if let Some(message) = &event.message {
        text(writer, FieldSpec::of(thrift::TaskEvent::FIELDS, 3), message);
    }
    text(writer, FieldSpec::of(thrift::TaskEvent::FIELDS, 4), scheduler_host);
    writer.struct_end();
}

fn field<W: Writer>(writer: &mut W, spec: &FieldSpec, value: &impl Write) {
    writer.field_begin(spec);
    value.write(writer);
    writer.field_end();
}

fn text<W: Writer>(writer: &mut W, spec: &FieldSpec, value: &str) {
    writer.field_begin(spec);
    writer.string(value);
    writer.field_end();
}

#[cfg(test)]
mod tests {
    use model::{TaskId, TaskStatus};
    use thrift::{BinaryWriter, JsonWriter, Limits, PlainWriter, Protocol, decode_plain, decode_reply};

    use super::*;
    use crate::samples::sample_task;

    #[test]
    fn one_task_is_plain_json_of_its_own() {
        let task = tasks(2).remove(1);
        let text = String::from_utf8(plain_json(&task, "scheduler.example")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], "RUNNING");
        assert_eq!(value["assignedTask"]["task"]["job"]["role"], "r");
        assert_eq!(value["taskEvents"][0]["scheduler"], "scheduler.example");
    }

    fn tasks(count: u32) -> Vec<Arc<Task>> {
        (0..count)
            .map(|instance| {
                let mut task = Arc::unwrap_or_clone(sample_task("r/prod/j", instance, TaskStatus::Running, Some("h")));
                if instance % 2 == 1 {
                    task.ancestor = Some(TaskId::from("older"));
                    task.ports = [("http".to_owned(), 31_000), ("admin".to_owned(), 65_535)].into();
                    task.failure_count = 3;
                    task.times_partitioned = 2;
                    task.events.push(TaskEvent {
                        timestamp_ms: 7,
                        status: TaskStatus::Running,
                        message: Some("\"quoted\"\n".into()),
                    });
                }
                Arc::new(task)
            })
            .collect()
    }

    fn frame(envelope: Option<(Method, i32)>, with_executor_data: bool) -> Frame {
        Frame {
            envelope,
            server_info: ServerInfo { cluster_name: "c".to_owned(), stats_url_prefix: String::new() },
            scheduler_host: "scheduler.example".into(),
            with_executor_data,
        }
    }

    fn joined<W: Writer>(tasks: &[Arc<Task>], frame: Frame) -> (Vec<u8>, usize) {
        let pieces: Vec<Vec<u8>> = Pieces::<W>::new(tasks.to_vec(), frame).collect();
        (pieces.concat(), pieces.len())
    }

    fn check(stored: &[Arc<Task>], response: Response, with_executor_data: bool) {
        assert_eq!(response.response_code, Some(ResponseCode::Ok));
        assert_eq!(response.server_info.unwrap().cluster_name, "c");
        assert_eq!(response.details, []);
        let Some(ResponseResult::ScheduleStatus(result)) = response.result else { panic!("no tasks") };
        assert_eq!(result.tasks.len(), stored.len());
        for (read, task) in result.tasks.into_iter().zip(stored) {
            let assigned = read.assigned_task.unwrap();
            assert_eq!(assigned.task_id, task.id.as_str());
            assert_eq!(assigned.slave_id.as_deref(), task.agent_id.as_deref());
            assert_eq!(assigned.slave_host.as_ref(), task.host.as_deref());
            assert_eq!(assigned.instance_id, task.instance as i32);
            let ports: Vec<_> = assigned.assigned_ports.into_iter().collect();
            let expected: Vec<_> = task.ports.iter().map(|(name, port)| (name.clone(), i32::from(*port))).collect();
            assert_eq!(ports, expected);
            let config = assigned.task.unwrap();
            let data = config.executor_config.as_ref().unwrap().data.clone();
            assert_eq!(data.is_some(), with_executor_data);
            let mut expected = (*task.config).clone();
            if !with_executor_data {
                expected.executor_config.as_mut().unwrap().data.clear();
            }
            assert_eq!(model::TaskConfig::try_from(config).unwrap(), expected);
            assert_eq!(read.status, Some(ScheduleStatus::from(task.status)));
            assert_eq!((read.failure_count, read.times_partitioned), (task.failure_count, task.times_partitioned));
            assert_eq!(read.ancestor_id.as_deref(), task.ancestor.as_ref().map(TaskId::as_str));
            let events: Vec<_> =
                read.task_events.iter().map(|event| (event.timestamp, event.message.as_deref())).collect();
            let expected: Vec<_> =
                task.events.iter().map(|event| (event.timestamp_ms, event.message.as_deref())).collect();
            assert_eq!(events, expected);
            assert!(read.task_events.iter().all(|event| event.scheduler.as_deref() == Some("scheduler.example")));
        }
    }

    #[test]
    fn every_task_arrives_whole_in_every_protocol_in_one_piece_or_many() {
        for count in [0, 1, 5, 3000] {
            let stored = tasks(count);
            for with_data in [true, false] {
                let envelope = Some((Method::GetTasksStatus, 4));
                let (json, json_pieces) = joined::<JsonWriter>(&stored, frame(envelope, with_data));
                let (binary, _) = joined::<BinaryWriter>(&stored, frame(envelope, with_data));
                let (plain, _) = joined::<PlainWriter>(&stored, frame(None, with_data));
                assert_eq!(json_pieces > 1, count == 3000);
                for (protocol, bytes) in [(Protocol::Json, json), (Protocol::Binary, binary)] {
                    let response = decode_reply(protocol, Method::GetTasksStatus, 4, &bytes, Limits::REPLY).unwrap();
                    check(&stored, response, with_data);
                }
                check(&stored, decode_plain(&plain, Limits::REPLY).unwrap(), with_data);
            }
        }
    }

    #[test]
    fn the_cache_of_configurations_never_mixes_them_up() {
        let stored: Vec<Arc<Task>> = (0..40)
            .map(|instance| {
                let mut task = Arc::unwrap_or_clone(sample_task("r/prod/j", instance, TaskStatus::Pending, None));
                let mut config = (*task.config).clone();
                // Together beyond the cache's bound.
                config.executor_config.as_mut().unwrap().data = format!("{instance}").repeat(200_000);
                task.config = Arc::new(config);
                Arc::new(task)
            })
            .collect();
        let (binary, _) = joined::<BinaryWriter>(&stored, frame(Some((Method::GetTasksStatus, 4)), true));
        let response = decode_reply(Protocol::Binary, Method::GetTasksStatus, 4, &binary, Limits::REPLY).unwrap();
        check(&stored, response, true);
    }
}
