"""What Python 2 had and job files still use, given where it means the same as ever or where Python 3 has nothing in its place.

Values that differ without a word, such as 7 / 2, are not changed here: the native side warns of them.
"""

import sys

import _jobfile

_missing = object()


class Values(list):
    """What map(), filter() and zip() give: a list as in Python 2, and next() takes from it as in Python 3."""

    __slots__ = ('_rest',)

    def __next__(self):
        rest = getattr(self, '_rest', None)
        if rest is None:
            rest = self._rest = list.__iter__(self)
        return next(rest)

    def __iter__(self):
        rest = getattr(self, '_rest', None)
        return list.__iter__(self) if rest is None else rest


_map, _filter, _zip, _sorted = map, filter, zip, sorted


def _map_values(function, *values):
    if function is None:
        return Values(_zip(*values) if len(values) > 1 else values[0])
    return Values(_map(function, *values))


def _filter_values(function, values):
    kept = _filter(function, values)
    if isinstance(values, str):
        return ''.join(kept)
    return tuple(kept) if type(values) is tuple else Values(kept)


def _zip_values(*values, **names):
    return Values(_zip(*values, **names))


def _cmp(a, b):
    return (a > b) - (a < b)


def _sorted_by(values, cmp=None, key=None, reverse=False):
    if cmp is not None:
        import functools
        compare = functools.cmp_to_key(cmp)
        own_key, key = key, compare if key is None else lambda value: compare(own_key(value))
    return _sorted(values, key=key, reverse=reverse)


def _reduce(*arguments):
    import functools
    return functools.reduce(*arguments)


def _apply(function, arguments=(), names={}):
    return function(*arguments, **names)


def _reload(module):
    return module


NAMES = {'xrange': range, 'unicode': str, 'basestring': str, 'long': int, 'unichr': chr, 'raw_input': input, 'reduce': _reduce,
         'map': _map_values, 'filter': _filter_values, 'zip': _zip_values, 'sorted': _sorted_by, 'cmp': _cmp, 'file': open,
         'intern': sys.intern, 'apply': _apply, 'reload': _reload}


def _iterkeys(self):
    return iter(self.keys())


def _itervalues(self):
    return iter(self.values())


def _iteritems(self):
    return iter(self.items())


def _has_key(self, key):
    return key in self


def _bytes_text(self):
    try:
        return self.decode('utf-8')
    except UnicodeDecodeError:
        raise TypeError('bytes that are no UTF-8 text cannot be put into a text') from None


def _extend_types():
    for name, method in (('iterkeys', _iterkeys), ('itervalues', _itervalues), ('iteritems', _iteritems), ('has_key', _has_key),
                         ('viewkeys', dict.keys), ('viewvalues', dict.values), ('viewitems', dict.items)):
        _jobfile.set_type_attribute(dict, name, method)
    # What was read from a file or a command was text.
    _jobfile.set_type_attribute(bytes, '__str__', _bytes_text)


# What was a module of its own: the old name, the modules that have its names today.
_ALIASES = {'StringIO': ['io'], 'cStringIO': ['io'], 'cPickle': ['pickle'], 'ConfigParser': ['configparser'], 'Queue': ['queue'],
            '__builtin__': ['builtins'], 'exceptions': ['builtins'], 'httplib': ['http.client'], 'urlparse': ['urllib.parse'],
            'urllib2': ['urllib.parse', 'urllib.error', 'urllib.request'], 'simplejson': ['json'], 'commands': ['subprocess'],
            'md5': ['hashlib'], 'sha': ['hashlib'], 'sets': []}


def _import(name):
    __import__(name)
    return sys.modules[name]


def _fill(name, module):
    """Puts what the old module had into a new one."""
    for source in _ALIASES[name]:
        vars(module).update((key, value) for key, value in vars(_import(source)).items() if not key.startswith('__'))
    if name in ('md5', 'sha'):
        module.new = module.sha = getattr(module, 'md5' if name == 'md5' else 'sha1')
    if name == 'sets':
        module.Set, module.ImmutableSet = set, frozenset


class _TextHash(object):
    """A digest that takes texts, too, as UTF-8."""

    def __init__(self, digest):
        self._digest = digest

    def update(self, data):
        self._digest.update(_encoded(data))

    def copy(self):
        return _TextHash(self._digest.copy())

    def __getattr__(self, name):
        return getattr(self._digest, name)


def _encoded(data):
    return data.encode('utf-8') if isinstance(data, str) else data


def _patch_hashlib(module):
    def taking_texts(function):
        def digest(data=b'', **names):
            return _TextHash(function(_encoded(data), **names))
        digest.__name__ = function.__name__
        return digest

    for name in ('md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'):
        if hasattr(module, name):
            setattr(module, name, taking_texts(getattr(module, name)))
    by_name = module.new

    def new(name, data=b'', **names):
        return _TextHash(by_name(name, _encoded(data), **names))
    module.new = new


_TEXT_METHODS = ('capitalize center count expandtabs find index ljust lower lstrip replace rfind rindex rjust rstrip split strip '
                 'swapcase translate upper zfill').split()


def _patch_string(module):
    for name in _TEXT_METHODS:
        setattr(module, name, getattr(str, name))
    module.letters, module.lowercase, module.uppercase = module.ascii_letters, module.ascii_lowercase, module.ascii_uppercase
    module.maketrans = str.maketrans
    module.splitfields = str.split
    module.join = module.joinfields = lambda words, separator=' ': separator.join(words)
    module.atoi = module.atol = int
    module.atof = float


def _patch_itertools(module):
    module.izip, module.imap, module.ifilter = _zip, _map, _filter
    module.izip_longest, module.ifilterfalse = module.zip_longest, module.filterfalse


def _patch_types(module):
    for kind, names in ((str, 'StringType UnicodeType StringTypes'), (int, 'IntType LongType'), (float, 'FloatType'),
                        (bool, 'BooleanType'), (list, 'ListType'), (tuple, 'TupleType'), (dict, 'DictType DictionaryType'),
                        (type(None), 'NoneType')):
        for name in names.split():
            setattr(module, name, kind)


def _patch_os(module):
    module.getcwdu = module.getcwd
    type(module.environ).has_key = _has_key


def _found_in(*sources):
    """Lets a module have the public names of others; they are imported when one is asked for."""
    def patch(module):
        def __getattr__(name):
            for source in () if name.startswith('_') else sources:
                value = getattr(_import(source), name, _missing)
                if value is not _missing:
                    return value
            raise AttributeError('module %r has no attribute %r' % (module.__name__, name), name=name, obj=module)
        module.__getattr__ = __getattr__
    return patch


_PATCHES = {'hashlib': _patch_hashlib, 'string': _patch_string, 'itertools': _patch_itertools, 'types': _patch_types, 'os': _patch_os,
            'urllib': _found_in('urllib.parse', 'urllib.request'), 'collections': _found_in('collections.abc')}


class _AliasLoader(object):
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        _fill(module.__name__, module)


class _PatchLoader(object):
    """The loader of a module that is there, and what is added to the module."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _PATCHES[module.__name__](module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name in _ALIASES:
            return type(sys.__spec__)(name, _AliasLoader())
        if name not in _PATCHES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _PatchLoader(spec.loader)
                return spec
        return None


def install():
    """To be called once, before a file runs."""
    _extend_types()
    sys.maxint = sys.maxsize
    sys.setdefaultencoding = lambda name: None
    for name in _PATCHES:
        if name in sys.modules:
            _PATCHES[name](sys.modules[name])
    sys.meta_path.insert(0, _Finder())
