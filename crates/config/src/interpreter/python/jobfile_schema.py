"""The names that every job file finds: the built-in structs and the helpers that build tasks from others."""

import _jobfile
import pystachio
from pystachio import Empty, List

globals().update(pystachio.schema)

Job = MesosJob

BYTES = 1
KB = 1024 * BYTES
MB = 1024 * KB
GB = 1024 * MB
TB = 1024 * GB

AURORA_EXECUTOR_NAME = 'AuroraExecutor'

Service = Job(service=True)
DefaultHealthChecker = HealthCheckerConfig(http=HttpHealthChecker())
DisableLifecycle = LifecycleConfig()
DefaultLifecycleConfig = LifecycleConfig(http=HttpLifecycleConfig())


def _number(value, what):
    """The number a field resolves to; unset fields count as none."""
    if value is Empty:
        return 0
    number = value.get()
    if isinstance(number, str):
        raise ValueError('%s cannot be added up before its references are bound: %s' % (what, number))
    return number


def _unique(values):
    """Each value once, in the order that came of it in Aurora's client, whose Python put them into a set."""
    kept = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return [kept[number] for number in _jobfile.set_order([value.get() for value in kept])]


class Units(object):
    """Arithmetic with parts of tasks."""

    @classmethod
    def safe_get(cls, value):
        return _number(value, 'a value')

    @classmethod
    def optional_resources(cls, resources):
        return Resources() if resources is Empty else resources

    @classmethod
    def _dimensions(cls, several, join):
        several = [cls.optional_resources(resources) for resources in several]
        totals = {}
        for name in ('cpu', 'ram', 'disk', 'gpu'):
            totals[name] = join([_number(getattr(resources, name)(), name) for resources in several])
        return Resources(**totals)

    @classmethod
    def resources_sum(cls, *several):
        return cls._dimensions(several, sum)

    @classmethod
    def resources_max(cls, several):
        return cls._dimensions(list(several), max)

    @classmethod
    def finalization_wait_sum(cls, waits):
        return sum(_number(wait, 'finalization_wait') for wait in waits)

    @classmethod
    def finalization_wait_max(cls, waits):
        return max([_number(wait, 'finalization_wait') for wait in waits] + [0])

    @classmethod
    def processes_merge(cls, tasks):
        return _unique(process for task in tasks if task.has_processes() for process in task.processes())

    @classmethod
    def constraints_merge(cls, tasks):
        return _unique(constraint for task in tasks if task.has_constraints() for constraint in task.constraints())


def _process_name(process):
    if isinstance(process, Process):
        name = process.name()
        if name is Empty:
            raise ValueError('order() needs processes that have a name')
        return str(name)
    if isinstance(process, (str, pystachio.String)):
        return str(process)
    raise ValueError('order() takes Process objects and names, not %r' % (process,))


class Processes(object):
    """Relations between processes."""

    @classmethod
    def order(cls, *processes):
        return [Constraint(order=[_process_name(process) for process in processes])]


order = Processes.order


class Tasks(object):
    """Tasks made of commands and of other tasks."""

    SIMPLE_CPU = 1.0
    SIMPLE_RAM = 1 * GB
    SIMPLE_DISK = 1 * GB

    @classmethod
    def _in_order(cls, task):
        if not task.has_processes():
            return task
        names = [process.name() for process in task.processes()]
        return task(constraints=[Constraint(order=names)]) if names else task

    @classmethod
    def simple(cls, name, command):
        resources = Resources(cpu=cls.SIMPLE_CPU, ram=cls.SIMPLE_RAM, disk=cls.SIMPLE_DISK)
        return Task(name=name, processes=[Process(name=name, cmdline=command)], resources=resources)

    @classmethod
    def sequential(cls, task):
        if task.has_constraints() and task.constraints().get():
            raise ValueError('a task that has constraints cannot become a SequentialTask')
        return cls._in_order(task)

    @classmethod
    def combine(cls, *tasks, **fields):
        if not tasks:
            return Task(**fields)
        merged = tasks[-1](
            processes=Units.processes_merge(tasks),
            constraints=Units.constraints_merge(tasks),
            resources=Units.resources_sum(*[task.resources() for task in tasks]),
            finalization_wait=Units.finalization_wait_max(task.finalization_wait() for task in tasks))
        return merged(**fields)

    @classmethod
    def concat(cls, *tasks, **fields):
        if not tasks:
            return Task(**fields)
        constraints = Units.constraints_merge(tasks)
        for earlier, later in zip(tasks, tasks[1:]):
            for before in earlier.processes():
                for after in later.processes():
                    if before != after:
                        constraints += order(before, after)
        merged = tasks[-1](
            processes=Units.processes_merge(tasks),
            constraints=constraints,
            resources=Units.resources_max(task.resources() for task in tasks),
            finalization_wait=Units.finalization_wait_sum(task.finalization_wait() for task in tasks))
        return merged(**fields)


SimpleTask = Tasks.simple
combine_tasks = Tasks.combine
concat_tasks = Tasks.concat


def SequentialTask(*dictionaries, **fields):
    return Tasks.sequential(Task(*dictionaries, **fields))


class Options(object):
    """Command line options of programs from names and values."""

    @classmethod
    def _join(cls, prefix, names, pairs):
        words = []

        def add(name, value=None):
            words.append(prefix(name) + str(name))
            if value:
                words.append(str(value))

        for name in names:
            if isinstance(name, str):
                add(name)
            elif isinstance(name, dict):
                for key, value in name.items():
                    add(key, value)
            else:
                raise ValueError('options are names or dictionaries, not %r' % (name,))
        for name, value in pairs.items():
            add(name, value)
        return ' '.join(words)

    @classmethod
    def java(cls, *names, **pairs):
        return cls._join(lambda name: '-', names, pairs)

    @classmethod
    def python(cls, *names, **pairs):
        return cls._join(lambda name: '-' if len(name) == 1 else '--', names, pairs)


java_options = Options.java
python_options = Options.python
