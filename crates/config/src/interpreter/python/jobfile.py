"""Runs a job file and hands what it defined, or why it failed, to the native side."""

import sys

import _jobfile
import jobfile_python2
import jobfile_schema
import pystachio

_PYSTACHIO_NAMES = ('Boolean', 'Choice', 'Default', 'Empty', 'Enum', 'Environment', 'Float', 'Integer', 'List', 'Map',
                    'MustacheParser', 'Namable', 'Provided', 'Ref', 'Required', 'String', 'Struct', 'Type', 'TypeCheck',
                    'TypeFactory')
_PYSTACHIO_PARTS = ('base', 'basic', 'choice', 'compatibility', 'composite', 'config', 'container', 'naming', 'parsing',
                    'typing')
_SCHEMA_MODULES = ('apache.aurora.config.schema.base', 'apache.thermos.config.schema',
                   'apache.thermos.config.schema_base', 'apache.thermos.config.schema_helpers')


def _public(module):
    return dict((name, value) for name, value in vars(module).items()
                if not name.startswith('_') and name not in ('pystachio', 'schema'))


def _module(name, names):
    """A module under a dotted name; the packages on the way are made when they are missing."""
    parent = None
    parts = name.split('.')
    for count in range(1, len(parts) + 1):
        dotted = '.'.join(parts[:count])
        module = sys.modules.get(dotted)
        if module is None:
            module = type(sys)(dotted)
            module.__path__ = []
            sys.modules[dotted] = module
        if parent is not None:
            setattr(parent, parts[count - 1], module)
        parent = module
    vars(parent).update(names)


def _log(level):
    def log(text, *arguments):
        sys.stderr.write('%s] %s\n' % (level, text % arguments if arguments else text))
    return log


def _names():
    """The names a job file starts with."""
    own = dict((name, getattr(pystachio, name)) for name in _PYSTACHIO_NAMES)
    schema = _public(jobfile_schema)
    for part in _PYSTACHIO_PARTS:
        _module('pystachio.' + part, own)
    for name in _SCHEMA_MODULES:
        _module(name, own)
        _module(name, schema)
    # Hooks of old files write to this log.
    _module('twitter.common.log', dict((name, _log(name.upper())) for name in
                                       ('debug', 'info', 'warning', 'warn', 'error', 'fatal')))
    # And they compare the scheduler's answers with these.
    codes = ('INVALID_REQUEST', 'OK', 'ERROR', 'WARNING', 'AUTH_FAILED', 'JOB_UPDATING_ERROR', 'ERROR_TRANSIENT')
    _module('gen.apache.aurora.api.ttypes', {'ResponseCode': type('ResponseCode', (object,), dict(
        [(name, number) for number, name in enumerate(codes)], _VALUES_TO_NAMES=dict(enumerate(codes))))})
    # Names that Python 2 had and files still use.
    names = dict(jobfile_python2.NAMES, sys=sys)
    names.update((part, sys.modules['pystachio.' + part]) for part in _PYSTACHIO_PARTS)
    names.update(own)
    names.update(schema)
    return names


# How deep files may include one another.
_INCLUDES_MAX = 64


class _IncludeError(RecursionError):
    pass


class _MissingIncludeError(FileNotFoundError):
    pass


class _Refused(BaseException):
    """A file has forms of Python 2; the native side knows which."""


class _Loader(object):
    """Runs files in one namespace."""

    def __init__(self):
        jobfile_python2.install()
        self.names = _names()
        self.names['include'] = self.include
        self.names['export'] = self.export
        self.names['execfile'] = self.execfile
        self.tasks = []
        self.files = []
        self.directories = []

    def run(self, path, shown):
        with open(path, 'rb') as source:
            content = source.read()
        self.files.append(shown)
        text = _decoded(content)
        if not _jobfile.begin_file(shown, text):
            raise _Refused()
        directory, slash, _ = path.rpartition('/')
        self.directories.append(directory + slash)
        try:
            exec(compile(text, shown, 'exec'), self.names)
        finally:
            self.directories.pop()

    def include(self, path):
        if not isinstance(path, str):
            raise pystachio.InvalidCallError('include() takes the path of a file, not %r' % (path,))
        path = path if path.startswith('/') else self.directories[-1] + path
        if len(self.directories) > _INCLUDES_MAX:
            raise _IncludeError('%s is included within itself without end' % path)
        try:
            self.run(path, path)
        except FileNotFoundError as error:
            if isinstance(error, _MissingIncludeError) or error.filename not in (path, None):
                raise
            raise _MissingIncludeError('there is no file %s to include' % path) from None

    def execfile(self, path):
        """As include(), with a path from the working directory."""
        self.run(path, path)

    def export(self, task):
        """Names a task that is run without a scheduler."""
        if not isinstance(task, jobfile_schema.Task):
            raise pystachio.InvalidCallError('export() takes a Task, not %r' % (task,))
        self.tasks.append(task)


def _decoded(content):
    """The text of a file; tabs at the start of lines stand for columns of eight, as Python 2 had it."""
    text = content.decode('utf-8-sig')
    if '\t' in text and ' ' in text:
        try:
            compile(text, '<tabs>', 'exec')
        except IndentationError:
            expanded = '\n'.join(_expanded(line) for line in text.split('\n'))
            try:
                compile(expanded, '<tabs>', 'exec')
            except SyntaxError:
                return text
            return expanded
        except SyntaxError:
            pass
    return text


def _expanded(line):
    rest = line.lstrip(' \t')
    return line[:len(line) - len(rest)].expandtabs(8) + rest


def _failure(error, files, names):
    """What an exception says, as plain values."""
    found = {'class': type(error).__name__, 'message': str(error)}
    if isinstance(error, SyntaxError) and error.filename in files:
        found.update(message=error.msg or 'invalid syntax', file=error.filename, line=error.lineno, column=error.offset,
                     end_line=error.end_lineno, end_column=error.end_offset)
        return found
    if isinstance(error, (NameError, AttributeError)) and getattr(error, 'name', None):
        found['name'] = error.name
        if isinstance(error, NameError):
            found['known'] = [name for name in list(names) + dir(names['__builtins__']) if isinstance(name, str)]
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        found['message'] = '%s: %s' % (error.strerror, error.filename)
    if isinstance(error, KeyError) and len(error.args) == 1:
        key = error.args[0]
        told = isinstance(key, str) and key.endswith(' not found')
        found['message'] = key if told else 'no such key: %r' % (key,)
    trace, places = error.__traceback__, []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in files:
            places.append([code.co_filename, trace.tb_lineno, code.co_name])
            innermost = trace
        trace = trace.tb_next
    found['places'] = places
    if places:
        line, column, end_line, end_column = _jobfile.position(innermost)
        found.update(file=places[-1][0], line=line, column=column, end_line=end_line, end_column=end_column)
    return found


def evaluate(path):
    """Runs the file; delivers its jobs or its failure."""
    sys.path[:] = []
    loader = _Loader()
    try:
        loader.run(path, path)
        _jobfile.deliver('tasks', loader.tasks)
        _deliver_jobs(loader.names)
    except SystemExit as error:
        _jobfile.deliver('exit', [error.code])
    except BaseException as error:
        _jobfile.deliver('failure', _failure(error, loader.files, loader.names))


def _deliver_jobs(names):
    jobs = names.get('jobs')
    if isinstance(jobs, pystachio.Object):
        raise pystachio.InvalidCallError("'jobs' must be a list of jobs, not a single %s; write jobs = [...]" % type(jobs).__name__)
    if 'jobs' in names:
        try:
            jobs = list(jobs)
        except TypeError:
            raise pystachio.InvalidCallError("'jobs' must be a list of jobs, not %r" % (jobs,)) from None
    _jobfile.deliver('jobs', jobs or [])
    if names.get('hooks'):
        _jobfile.deliver('hooks', [type(hook).__name__ for hook in names['hooks']])
