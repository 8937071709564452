// A client of the scheduler as users of gorealis 1 write one: the calls of the guide to custom executors, one verb per run.
//
// What it prints is for the test that starts it: one JSON object per task for "status", nothing else on standard output.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	realis "github.com/paypal/gorealis"
	"github.com/paypal/gorealis/gen-go/apache/aurora"
	"github.com/paypal/gorealis/response"
)

// Seconds between two looks of a monitor, and how long it looks.
const (
	monitorInterval = 1
	monitorTimeout  = 60
)

var (
	url       = flag.String("url", "", "where the scheduler is")
	transport = flag.String("transport", "json", "json or binary")
	role      = flag.String("role", "", "role of the job")
	name      = flag.String("name", "", "name of the job, in the environment prod")
	executor  = flag.String("executor", aurora.AURORA_EXECUTOR_NAME, "name of the executor")
	data      = flag.String("data", "{}", "what the executor is told")
	label     = flag.String("label", "", "key=value")
	uri       = flag.String("uri", "", "an archive to fetch and unpack")
	service   = flag.Bool("service", true, "whether it goes on for ever")
	ports     = flag.Int("ports", 1, "ports of each instance")
	instances = flag.Int("instances", 1, "how many")
)

func main() {
	flag.Parse()
	if err := run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(verb string) error {
	options := []realis.ClientOption{
		realis.SchedulerUrl(*url),
		realis.BasicAuth("aurora", "secret"),
		realis.TimeoutMS(20000),
		realis.SetLogger(log.New(os.Stderr, "realis: ", 0)),
		realis.BackOff(realis.Backoff{Steps: 2, Duration: time.Second, Factor: 2, Jitter: 0.1}),
	}
	switch *transport {
	case "json":
		options = append(options, realis.ThriftJSON())
	case "binary":
		options = append(options, realis.ThriftBinary())
	default:
		return fmt.Errorf("no transport is called %q", *transport)
	}
	client, err := realis.NewRealisClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	monitor := &realis.Monitor{Client: client}
	switch verb {
	case "create":
		_, err = client.CreateJob(job())
	case "await":
		err = await(monitor)
	case "status":
		err = status(client)
	case "restart":
		_, err = client.RestartJob(job().JobKey())
	case "add":
		_, err = client.AddInstances(aurora.InstanceKey{JobKey: job().JobKey(), InstanceId: 0}, int32(*instances))
	case "update":
		err = update(client, monitor)
	case "kill":
		_, err = client.KillJob(job().JobKey())
	default:
		err = fmt.Errorf("no verb is called %q", verb)
	}
	return err
}

func job() realis.Job {
	job := realis.NewJob().
		Environment("prod").
		Role(*role).
		Name(*name).
		ExecutorName(*executor).
		ExecutorData(*data).
		CPU(0.1).
		RAM(64).
		Disk(100).
		IsService(*service).
		InstanceCount(int32(*instances)).
		AddPorts(*ports)
	if key, value, found := strings.Cut(*label, "="); found {
		job = job.AddLabel(key, value)
	}
	if *uri != "" {
		job = job.AddURIs(true, true, *uri)
	}
	return job
}

// Waits for exactly so many live instances, as the library's own monitor does.
func await(monitor *realis.Monitor) error {
	good, err := monitor.Instances(job().JobKey(), int32(*instances), monitorInterval, monitorTimeout)
	if err == nil && !good {
		err = fmt.Errorf("there are never %d live instances", *instances)
	}
	return err
}

// Fetches the configuration of instance 0 and updates the job to so many instances of it with more memory.
func update(client realis.Realis, monitor *realis.Monitor) error {
	config, err := client.FetchTaskConfig(aurora.InstanceKey{JobKey: job().JobKey(), InstanceId: 0})
	if err != nil {
		return err
	}
	wanted := realis.NewDefaultUpdateJob(config).WatchTime(1000)
	wanted.InstanceCount(int32(*instances)).RAM(96)
	started, err := client.StartJobUpdate(wanted, "more memory")
	if err != nil {
		return err
	}
	good, err := monitor.JobUpdate(*response.JobUpdateKey(started), monitorInterval, monitorTimeout)
	if err == nil && !good {
		err = fmt.Errorf("the update is never rolled forward")
	}
	return err
}

type task struct {
	Id       string            `json:"id"`
	Instance int32             `json:"instance"`
	Status   string            `json:"status"`
	Ports    map[string]int32  `json:"ports"`
	Executor string            `json:"executor"`
	Data     string            `json:"data"`
	Labels   map[string]string `json:"labels"`
	Uris     []string          `json:"uris"`
	RamMb    int64             `json:"ram_mb"`
}

func status(client realis.Realis) error {
	key := job().JobKey()
	tasks, err := client.GetTaskStatus(&aurora.TaskQuery{Role: &key.Role, Environment: &key.Environment, JobName: &key.Name})
	if err != nil {
		return err
	}
	for _, it := range tasks {
		config := it.AssignedTask.Task
		shown := task{
			Id:       it.AssignedTask.TaskId,
			Instance: it.AssignedTask.InstanceId,
			Status:   it.Status.String(),
			Ports:    it.AssignedTask.AssignedPorts,
			Executor: config.ExecutorConfig.Name,
			Data:     config.ExecutorConfig.Data,
			Labels:   map[string]string{},
		}
		for _, label := range config.Metadata {
			shown.Labels[label.Key] = label.Value
		}
		for _, uri := range config.MesosFetcherUris {
			shown.Uris = append(shown.Uris, uri.Value)
		}
		for _, resource := range config.Resources {
			if resource.RamMb != nil {
				shown.RamMb = *resource.RamMb
			}
		}
		line, err := json.Marshal(shown)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}
