//! Replies with tasks, written straight from the stored tasks. Each configuration is encoded once however many tasks share it.

use std::collections::HashMap;
use std::sync::Arc;

use scheduler::{Task, TaskEvent};
use thrift::convert::instance_to_wire;
use thrift::{AssignedTask, FieldSpec, Kind, ScheduleStatus, ScheduleStatusResult, ScheduledTask, Write, Writer};

use super::{Listing, field};

/// Encoded configurations are forgotten beyond this, so that a million different ones cost no memory.
const MAX_CACHED_BYTES: usize = 4 << 20;

/// Of getTasksStatus and getTasksWithoutConfigs. One serves one reply in one protocol.
#[derive(Debug)]
pub struct Tasks {
    /// Part of every event on the wire.
    scheduler_host: Arc<str>,
    with_executor_data: bool,
    /// By the address of the shared configuration, which each entry keeps alive.
    configs: HashMap<usize, (Arc<model::TaskConfig>, Box<[u8]>)>,
    cached_bytes: usize,
}

/// One task as plain JSON, in the shape of `ScheduledTask`.
pub fn plain_json(task: &Task, scheduler_host: &str) -> Vec<u8> {
    let mut writer = thrift::PlainWriter::with_buffer(Vec::new());
    Tasks::new(scheduler_host.into(), true).write_scheduled(task, &mut writer);
    writer.into_buffer()
}

impl Listing for Tasks {
    const RESULT: i16 = 3;
    const FIELDS: &'static [FieldSpec] = ScheduleStatusResult::FIELDS;
    type Element = Arc<Task>;

    fn write<W: Writer>(&mut self, task: &Arc<Task>, writer: &mut W) {
        self.write_scheduled(task, writer);
    }
}

impl Tasks {
    /// With the scheduler's host name, and with or without the executor's document.
    pub fn new(scheduler_host: Arc<str>, with_executor_data: bool) -> Self {
        Self { scheduler_host, with_executor_data, configs: HashMap::new(), cached_bytes: 0 }
    }

    fn write_scheduled<W: Writer>(&mut self, task: &Task, writer: &mut W) {
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(ScheduledTask::FIELDS, 1));
        self.write_assigned(task, writer);
        writer.field_end();
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 2), &ScheduleStatus::from(task.status));
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 3), &task.failure_count);
        writer.field_begin(FieldSpec::of(ScheduledTask::FIELDS, 4));
        writer.list_begin(Kind::Struct, task.events.len());
        for event in &task.events {
            writer.element();
            write_event(writer, event, &self.scheduler_host);
        }
        writer.list_end();
        writer.field_end();
        if let Some(ancestor) = &task.ancestor {
            text(writer, FieldSpec::of(ScheduledTask::FIELDS, 5), ancestor.as_str());
        }
        field(writer, FieldSpec::of(ScheduledTask::FIELDS, 6), &task.times_partitioned);
        writer.struct_end();
    }

    fn write_assigned<W: Writer>(&mut self, task: &Task, writer: &mut W) {
        writer.struct_begin();
        text(writer, FieldSpec::of(AssignedTask::FIELDS, 1), task.id.as_str());
        if let Some(agent_id) = &task.agent_id {
            text(writer, FieldSpec::of(AssignedTask::FIELDS, 2), agent_id);
        }
        if let Some(host) = &task.host {
            text(writer, FieldSpec::of(AssignedTask::FIELDS, 3), host);
        }
        writer.field_begin(FieldSpec::of(AssignedTask::FIELDS, 4));
        self.write_config(task, writer);
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

    fn write_config<W: Writer>(&mut self, task: &Task, writer: &mut W) {
        let address = Arc::as_ptr(&task.config) as usize;
        if let Some((_, encoded)) = self.configs.get(&address) {
            writer.encoded(encoded);
            return;
        }
        let mut config = thrift::TaskConfig::from(&*task.config);
        if !self.with_executor_data
            && let Some(executor) = &mut config.executor_config
        {
            executor.data = None;
        }
        let mut own = W::new();
        config.write(&mut own);
        let encoded = own.into_buffer().into_boxed_slice();
        writer.encoded(&encoded);
        if self.cached_bytes + encoded.len() > MAX_CACHED_BYTES {
            self.configs.clear();
            self.cached_bytes = 0;
        }
        self.cached_bytes += encoded.len();
        self.configs.insert(address, (task.config.clone(), encoded));
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

fn text<W: Writer>(writer: &mut W, spec: &FieldSpec, value: &str) {
    writer.field_begin(spec);
    writer.string(value);
    writer.field_end();
}

#[cfg(test)]
mod tests {
    use model::{TaskId, TaskStatus};
    use thrift::{
        BinaryWriter, JsonWriter, Limits, Method, PlainWriter, Protocol, Response, ResponseCode, ResponseResult,
        decode_plain, decode_reply,
    };

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

    fn joined<W: Writer>(tasks: &[Arc<Task>], envelope: Option<(Method, i32)>, with_data: bool) -> (Vec<u8>, usize) {
        super::super::joined::<W, Tasks>(tasks.to_vec(), Tasks::new("scheduler.example".into(), with_data), envelope)
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
                let (json, json_pieces) = joined::<JsonWriter>(&stored, envelope, with_data);
                let (binary, _) = joined::<BinaryWriter>(&stored, envelope, with_data);
                let (plain, _) = joined::<PlainWriter>(&stored, None, with_data);
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
        let (binary, _) = joined::<BinaryWriter>(&stored, Some((Method::GetTasksStatus, 4)), true);
        let response = decode_reply(Protocol::Binary, Method::GetTasksStatus, 4, &binary, Limits::REPLY).unwrap();
        check(&stored, response, true);
    }
}
