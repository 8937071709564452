//! `daybreak up`: the words of the command line handed to the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use client::{
    EngineName, JobArguments, LogFormat, MesosArguments, OfferArguments, ServiceLevelArguments, SlaFigure, UpArguments,
    ZookeeperArguments,
};
use server::{
    AnnounceOptions, EngineOptions, ExecutorOptions, JobOptions, MesosOptions, MetricCategory, MetricSettings,
    OfferOptions, Options, ServiceLevelOptions, SlaFigureOptions, TaskAnnounceOptions,
};

/// Runs the daemon until it is told to stop.
pub fn up(arguments: UpArguments) -> ExitCode {
    let state_dir = arguments.state_directory();
    // The file may be replaced while the daemon runs; the path stays right, the file descriptor behind /proc/self/exe would not.
    let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    if arguments.mesos.mesos_master.is_none()
        && let Some(path) = &arguments.mesos.custom_executor_config
        && let Err(why) = server::check_custom_executors_here(path)
    {
        eprintln!("error: {why}");
        return ExitCode::FAILURE;
    }
    let engine = match arguments.engine() {
        Ok(EngineName::Mesos) => EngineOptions::Mesos(Box::new(mesos(arguments.mesos, &arguments.zookeeper))),
        Ok(EngineName::Local) | Err(_) => EngineOptions::Local,
    };
    let here = matches!(engine, EngineOptions::Local);
    let announce_tasks = if here { announce_tasks(&arguments.zookeeper) } else { None };
    server::daemon::main(&Options {
        state_dir: std::path::absolute(&state_dir).unwrap_or(state_dir),
        listen: arguments.listen,
        hostname: arguments.hostname,
        cluster: arguments.cluster,
        engine,
        jobs: jobs(arguments.jobs),
        core: crate::tuning::core(arguments.tuning),
        security: crate::tuning::security(&arguments.security),
        enable_cors_for: arguments.security.enable_cors_for,
        viz_job_url_prefix: arguments.security.viz_job_url_prefix,
        webhook: arguments.security.webhook_config,
        https_ca_file: arguments.security.https_ca_file,
        ignored_flags: arguments.ignored_flag,
        service_levels: service_levels(arguments.service_levels),
        backups: server::BackupOptions {
            directory: arguments.backups.backup_dir,
            interval: arguments.backups.backup_interval,
            keep: arguments.backups.max_saved_backups as usize,
        },
        announce: announce(&arguments.zookeeper),
        announce_tasks,
        resources: arguments.resources,
        attributes: arguments.attributes,
        agents: arguments.agents,
        identities: arguments.agent,
        cpu_quota: arguments.cpu_quota,
        log_format: match arguments.log_format {
            LogFormat::Text => server::LogFormat::Text,
            LogFormat::Json => server::LogFormat::Json,
        },
        log_level: arguments.log_level,
        allow_root_role: arguments.allow_root_role,
        allow_unauthenticated: arguments.allow_unauthenticated,
        ephemeral: arguments.ephemeral,
        detached: arguments.detached,
        executable,
    })
}

fn service_levels(arguments: ServiceLevelArguments) -> ServiceLevelOptions {
    let categories = |figures: client::SlaFigures| {
        let category = |figure| match figure {
            SlaFigure::JobUptimes => MetricCategory::JobUptimes,
            SlaFigure::PlatformUptime => MetricCategory::PlatformUptime,
            SlaFigure::Medians => MetricCategory::Medians,
        };
        figures.0.into_iter().map(category).collect()
    };
    ServiceLevelOptions {
        tier_config: arguments.tier_config,
        figures: SlaFigureOptions {
            refresh_interval: arguments.sla_stat_refresh_interval,
            metrics: MetricSettings {
                production: categories(arguments.sla_prod_metrics),
                non_production: categories(arguments.sla_non_prod_metrics),
            },
        },
        sla_coordinator_timeout: arguments.sla_coordinator_timeout,
        max_parallel_coordinated_maintenance: arguments.max_parallel_coordinated_maintenance as usize,
        host_maintenance_polling_interval: arguments.host_maintenance_polling_interval,
    }
}

fn announce(arguments: &ZookeeperArguments) -> Option<AnnounceOptions> {
    let ensemble = arguments.zk_endpoints.clone()?;
    let ensemble = match &arguments.zk_chroot_path {
        // The path was checked with the others.
        Some(path) => ensemble.clone().below(path).unwrap_or(ensemble),
        None => ensemble,
    };
    Some(AnnounceOptions {
        ensemble,
        path: arguments.serverset_path.clone(),
        endpoint_name: arguments.serverset_endpoint_name.clone(),
        session_timeout: arguments.zk_session_timeout,
        credential: arguments.zk_digest_credentials.clone(),
    })
}

fn announce_tasks(arguments: &ZookeeperArguments) -> Option<TaskAnnounceOptions> {
    Some(TaskAnnounceOptions {
        ensemble: arguments.announcer_ensemble.clone()?,
        root: arguments.announcer_serverset_path.clone(),
        allow_custom_path: arguments.announcer_allow_custom_serverset_path,
        hostname: arguments.announcer_hostname.clone(),
        auth_file: arguments.announcer_zookeeper_auth_config.clone(),
    })
}

fn jobs(arguments: JobArguments) -> JobOptions {
    JobOptions {
        enable_mesos_fetcher: arguments.enable_mesos_fetcher,
        allowed_container_types: arguments.allowed_container_types,
        allow_docker_parameters: arguments.allow_docker_parameters,
        default_docker_parameters: arguments.default_docker_parameters.0,
        require_docker_use_executor: arguments.require_docker_use_executor,
        allow_container_volumes: arguments.allow_container_volumes,
        allow_gpu_resource: arguments.allow_gpu_resource,
    }
}

fn mesos(arguments: MesosArguments, zookeeper: &ZookeeperArguments) -> MesosOptions {
    // Executors on agents are told by their command line what this machine's are told by the engine.
    let announcing = zookeeper.executor_flags();
    let flags: Vec<String> = arguments.executor_flags.into_iter().chain(announcing).collect();
    MesosOptions {
        master: arguments.mesos_master.unwrap_or_default(),
        framework_name: arguments.framework_name,
        roles: arguments.mesos_role,
        principal: arguments.principal,
        secret_file: arguments.secret_file,
        authentication_file: arguments.framework_authentication_file,
        announce_principal: arguments.framework_announce_principal,
        failover_timeout: arguments.failover_timeout,
        forget_framework: arguments.forget_framework,
        executor_user: arguments.executor_user,
        partition_aware: arguments.partition_aware,
        receive_revocable_resources: arguments.receive_revocable_resources,
        populate_discovery_info: arguments.populate_discovery_info,
        tls: arguments.mesos_tls,
        ca_file: arguments.mesos_ca_file,
        certificate: arguments.mesos_certificate_file.zip(arguments.mesos_key_file),
        executor: ExecutorOptions {
            path: arguments.executor_path,
            resources: arguments.executor_resources,
            flags: Some(flags.join(" ")).filter(|flags| !flags.is_empty()),
            home_in_sandbox: arguments.home_in_sandbox,
            cpu: arguments.executor_cpu,
            ram_mb: arguments.executor_ram,
            global_container_mounts: arguments.global_container_mounts.0,
        },
        custom_executor_config: arguments.custom_executor_config,
        offers: offers(arguments.offers),
    }
}

fn offers(arguments: OfferArguments) -> OfferOptions {
    OfferOptions {
        min_offer_hold_time: arguments.min_offer_hold_time,
        offer_hold_jitter_window: arguments.offer_hold_jitter_window,
        hold_offers_forever: arguments.hold_offers_forever,
        offer_filter_duration: arguments.offer_filter_duration,
        unavailability_threshold: arguments.unavailability_threshold,
        suppress_idle_after: arguments.suppress_idle_after,
        reconciliation_initial_delay: arguments.reconciliation_initial_delay,
        reconciliation_explicit_interval: arguments.reconciliation_explicit_interval,
        reconciliation_implicit_interval: arguments.reconciliation_implicit_interval,
        reconciliation_schedule_spread: arguments.reconciliation_schedule_spread,
        reconciliation_explicit_batch_size: arguments.reconciliation_explicit_batch_size as usize,
        reconciliation_explicit_batch_interval: arguments.reconciliation_explicit_batch_interval,
        master_failover_grace: arguments.master_failover_grace,
    }
}
