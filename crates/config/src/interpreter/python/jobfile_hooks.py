"""Runs the hooks of a job file around a client's calls, as the client asks for them."""

import sys

import _jobfile_hooks
import jobfile


class AuroraJobKey(object):
    """The key of a job."""

    def __init__(self, cluster, role, env, name):
        self.cluster, self.role, self.env, self.name = cluster, role, env, name

    @property
    def environment(self):
        return self.env

    def to_path(self):
        return '/'.join(self)

    def __iter__(self):
        return iter((self.cluster, self.role, self.env, self.name))

    def __str__(self):
        return self.to_path()

    def __repr__(self):
        return "AuroraJobKey(%s)" % ', '.join(repr(part) for part in self)

    def __eq__(self, other):
        return isinstance(other, AuroraJobKey) and tuple(self) == tuple(other)

    def __hash__(self):
        return hash(tuple(self))


class Fields(object):
    """A value of the wire: its fields are attributes, and those it lacks are None."""

    def __init__(self, values):
        for name, value in values.items():
            setattr(self, name, _value(value))

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return None

    def __repr__(self):
        return 'Fields(%s)' % ', '.join('%s=%r' % item for item in sorted(vars(self).items()))


def _value(value):
    if isinstance(value, dict):
        return Fields(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return value


class AuroraConfig(object):
    """A job of the file, as hooks are given it."""

    def __init__(self, key, job, wire, hooks):
        self._key, self._job, self._wire = key, job, _value(wire)
        self.hooks = hooks

    def cluster(self):
        return self._key.cluster

    def role(self):
        return self._key.role

    def environment(self):
        return self._key.env

    def name(self):
        return self._key.name

    def job_key(self):
        return self._key

    def instances(self):
        return int(self.raw().instances().get())

    def raw(self):
        return self._job.interpolate()[0]

    def job(self):
        return self._wire

    def update_config(self):
        return self.raw().update_config()

    def task(self, instance):
        return (self._job % {'mesos.instance': instance}).task()

    def __repr__(self):
        return 'AuroraConfig(%s)' % self._key


class HookConfig(object):
    """What a generic hook is told about the job."""

    def __init__(self, config, job_key):
        self.config, self.job_key = config, job_key

    def __iter__(self):
        return iter((self.config, self.job_key))


class APIError(Exception):
    """The scheduler's answer was not OK."""

    def __init__(self, response, name):
        Exception.__init__(self, 'APIError: %s: %s' % (name, response.message))
        self.response = response
        self.responseCode = response.responseCode
        self.details = response.details
        self.message = response.message


class CallError(Exception):
    """There was no answer."""


def _outcome(event, outcome):
    if outcome is None:
        return None
    text = ', '.join(outcome['messages'])
    if outcome['response_code'] is None:
        return CallError(text)
    number, name = outcome['response_code']
    response = Fields({'responseCode': number, 'details': [{'message': message} for message in outcome['messages']],
                       'result': outcome['result'], 'message': text, 'messageDEPRECATED': text})
    return response if event == 'post' else APIError(response, name)


def _fitted(method, first, arguments, keywords):
    """The arguments in the form the hook's own signature has, which may be that of an older client: `shards` for
    `instances`, and without what came later."""
    code = getattr(getattr(method, '__func__', method), '__code__', None)
    values = [value for _, value in arguments]
    if code is None:
        return first + values, keywords
    taken = code.co_argcount
    own = list(code.co_varnames[:taken])[(1 if hasattr(method, '__func__') else 0) + len(first):]
    named = own + list(code.co_varnames[taken:taken + code.co_kwonlyargcount])
    takes_more, takes_any = code.co_flags & 4, code.co_flags & 8
    fitted = {}
    for name, value in keywords.items():
        if name in named or takes_any:
            fitted[name] = value
        elif name == 'instances' and 'shards' in named:
            fitted['shards'] = value
    values = []
    for name, value in arguments:
        position = len(values)
        if position < len(own) and own[position] in fitted and own[position] != name:
            continue
        if position < len(own) or takes_more:
            values.append(value)
    return first + values, fitted


class _Runner(object):
    """The hooks of one job."""

    def __init__(self, opening, names):
        self.verbose = opening['verbose']
        self.key = AuroraJobKey(*opening['key'])
        bindings = dict(opening['bindings'])
        jobs = [job.bind(bindings) if bindings else job for job in names.get('jobs') or []]
        job = next((job for job in jobs if self._is_meant(job)), None)
        enabled = job is not None and job.enable_hooks().get()
        self.hooks = list(names.get('hooks') or []) if enabled else []
        self.config = None if job is None else AuroraConfig(self.key, job, opening['job'], self.hooks)

    def _is_meant(self, job):
        def shown(name):
            return str(getattr(job, name)())
        return [shown(name) for name in ('cluster', 'role', 'environment', 'name')] == list(self.key)

    def _real(self, value):
        return {'@config': self.config, '@job_key': self.key}.get(value, value) if isinstance(value, str) else value

    def run(self, call):
        """Every hook runs, whatever those before it said."""
        results = [self._run_one(hook, call) for hook in self.hooks]
        return all(results)

    def _run_one(self, hook, call):
        event, name = call['event'], call['method']
        arguments = [(argument, self._real(value)) for argument, value in call['arguments']]
        keywords = dict((argument, self._real(value)) for argument, value in call['keywords'])
        outcome = _outcome(event, call['outcome'])
        shown = '%s_%s' % (event, name)
        method = getattr(hook, shown, None)
        if callable(method):
            given, named = _fitted(method, [] if outcome is None else [outcome], arguments, keywords)
        else:
            method = getattr(hook, 'generic_hook', None)
            if method is None:
                return True
            about = [HookConfig(self.config, self.key), event, name, outcome]
            values = [value for _, value in arguments]
            shown, given, named = 'generic_hook', about + [values, keywords], {}
            code = getattr(getattr(method, '__func__', method), '__code__', None)
            # Hooks written as the documentation has it take the call's arguments apart.
            if code is not None and code.co_flags & 12:
                given = about + (values if code.co_flags & 4 else [])
                named = keywords if code.co_flags & 8 else {}
        if self.verbose:
            sys.stderr.write('DEBUG] Running %s in %s\n' % (shown, type(hook).__name__))
        try:
            passed = method(*given, **named)
        except Exception as error:
            import traceback
            # Without our own call, which is the first.
            trace = ''.join(traceback.format_exception(type(error), error, error.__traceback__.tb_next))
            sys.stderr.write(' WARN] Error in %s in %s\n%s' % (shown, type(hook).__name__, trace))
            return False
        if self.verbose and not passed:
            sys.stderr.write('DEBUG] %s in %s returned False\n' % (shown, type(hook).__name__))
        return passed


class _Silent(object):
    """Takes what the file prints when it is evaluated again; it was shown the first time."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def _loaded(opening):
    loader = jobfile._Loader()
    streams = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Silent()
    try:
        loader.run(opening['path'], opening['path'])
    finally:
        sys.stdout, sys.stderr = streams
    return _Runner(opening, loader.names)


def _status(code):
    """What a process that leaves with this value ends as."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 255
    sys.stderr.write('%s\n' % (code,))
    return 1


def serve(opening):
    import json
    sys.path[:] = []
    try:
        runner = _loaded(json.loads(opening))
    except BaseException as error:
        _jobfile_hooks.answer(json.dumps({'error': '%s: %s' % (type(error).__name__, error)}))
        return
    _jobfile_hooks.answer('{"error": null}')
    while True:
        question = _jobfile_hooks.question()
        if question is None:
            return
        passed, left = False, None
        try:
            passed = bool(runner.run(json.loads(question)))
        except SystemExit as error:
            left = _status(error.code)
        sys.stdout.flush()
        sys.stderr.flush()
        _jobfile_hooks.answer(json.dumps({'passed': passed, 'exit': left}))
