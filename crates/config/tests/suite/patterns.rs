//! The usage patterns of real files (spec config-dsl 6), one test each: what the jobs of the file come to as a whole is kept in
//! `golden/patterns`, and what their executors get is what Aurora's client gave them, to the byte.

use std::fmt::Write;

use config::{Job, default_tiers};

use crate::{beside, golden};

/// What a job comes to.
fn shown(job: &Job) -> String {
    let submission = job.submission("owner", &default_tiers()).unwrap_or_else(|error| panic!("{}", error.render()));
    let (of, task) = (&submission.job, &submission.job.task);
    let mut text = format!("== {}\n", job.key());
    let mut line = |what: &str, value: String| writeln!(text, "{what}: {value}").expect("a text takes all");
    line("instances", of.instance_count.to_string());
    line("service, production, tier", format!("{}, {:?}, {:?}", task.is_service, task.production, task.tier));
    line("priority, failures", format!("{}, {}", task.priority, task.max_task_failures));
    line("cron", format!("{:?}, {:?}", of.cron_schedule, of.cron_collision_policy));
    let resources = &task.resources;
    line(
        "cpu, ram, disk, gpu",
        format!("{}m, {} MB, {} MB, {}", resources.cpu.0, resources.ram_mb, resources.disk_mb, resources.gpus),
    );
    line("ports", format!("{:?}", task.requested_ports));
    line("contact", format!("{:?}", task.contact_email));
    line("container", format!("{:?}", task.container));
    for constraint in &task.constraints {
        line("constraint", format!("{} {:?}", constraint.name, constraint.constraint));
    }
    for metadata in &task.metadata {
        line("metadata", format!("{} = {}", metadata.key, metadata.value));
    }
    line("partition policy", format!("{:?}", task.partition_policy));
    line("sla policy", format!("{:?}", task.sla_policy));
    match job.update_settings(&[]) {
        Ok(settings) => line("update", format!("{settings:?}")),
        Err(error) => line("update", error.reason),
    }
    line("executor", task.executor_config.as_ref().map(|executor| executor.name.clone()).unwrap_or_default());
    for warning in &submission.warnings {
        line("warning", warning.clone());
    }
    line("all fields", format!("{:#}", submission.raw));
    text
}

/// Evaluates a file of the folder `beside/files` and compares all its jobs.
fn check(name: &str) {
    let evaluation = beside::evaluated(name);
    let mut text: String = evaluation.jobs.iter().map(shown).collect();
    if name == "04_default_at_load_time" {
        // The user of the test.
        let user = evaluation.jobs[0].role.shown().to_owned();
        text = text.replace(&format!("c/{user}/"), "c/USER/").replace(&format!("/home/{user}"), "/home/USER");
        text = text.replace(&format!("echo {user} "), "echo USER ").replace(&format!("\"{user}\""), "\"USER\"");
    }
    golden::check(&format!("patterns/{name}.txt"), &text);
    beside::compare_executor_data(name, &evaluation);
}

macro_rules! patterns {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            check($file);
        })*

        #[test]
        fn every_file_of_the_folder_is_a_pattern() {
            let mut named = vec![$($file.to_owned()),*];
            named.sort();
            assert_eq!(beside::files(), named);
        }
    };
}

patterns! {
    pattern_01_a_checksum_in_the_command: "01_digest_of_a_package",
    pattern_02_a_profile_struct_is_bound: "02_profile",
    pattern_03_defaults_of_profiles_refer_to_others: "03_profile_of_references",
    pattern_04_a_default_is_computed_at_load_time: "04_default_at_load_time",
    pattern_05_profiles_are_derived_from_one_another: "05_profiles_from_profiles",
    pattern_06_a_job_is_called_as_a_template: "06_job_as_template",
    pattern_07_call_then_bind: "07_call_and_bind",
    pattern_08_service_as_a_constructor_and_job_as_a_service: "08_service_and_job",
    pattern_09_comprehensions_of_jobs: "09_comprehensions",
    pattern_09_maps_and_generators_of_jobs: "09b_maps_and_generators",
    pattern_10_functions_and_lambdas_as_factories: "10_factories",
    pattern_11_nested_loops_over_tables: "11_tables",
    pattern_12_include_relative_and_nested: "12_include",
    pattern_13_templates_for_numbers: "13_templates_for_numbers",
    pattern_14_a_dotted_bind_overrides: "14_bound_by_the_command_line",
    pattern_15_commands_of_many_lines: "15_long_commands",
    pattern_16_formatting_of_commands: "16_formatting",
    pattern_17_the_users_environment: "17_environment_of_the_user",
    pattern_18_ports_and_aliases: "18_ports",
    pattern_19_orders_of_processes: "19_order",
    pattern_20_tasks_made_of_tasks: "20_tasks_of_tasks",
    pattern_21_containers: "21_containers",
    pattern_22_health_and_lifecycle: "22_health_and_lifecycle",
    pattern_23_cron_jobs_among_services: "23_cron",
    pattern_24_hooks: "24_hooks",
    pattern_25_tables_of_constraints_and_metadata: "25_constraints_and_metadata",
    pattern_26_odds_and_ends: "26_odds_and_ends",
    pattern_27_nested_scopes: "27_nested_scopes",
    pattern_28_what_else_is_plausible: "28_what_else_is_plausible",
    example_one_of_each_guide: "29_one_of_each_guide",
    example_one_service_in_many_ways: "30_one_service_in_many_ways",
    example_processes_of_every_kind: "31_processes_of_every_kind",
    example_policies_and_updates: "32_policies",
}
