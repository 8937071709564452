"""The configuration objects of job files, as Python classes.

Each class stands for one type of the native module and each instance holds one native object; templates, scopes and
checks are all done there. Instances never change: calls such as bind() give new ones.
"""

import _jobfile


class Empty(object):
    """The mark of a field that is not set."""


class Namable(object):
    """Kept for files that name it."""

    class Error(Exception):
        pass

    class Unnamable(Error):
        pass

    class NamingError(Error):
        pass

    class NotFound(Error):
        pass


class frozendict(dict):
    """A dictionary that can be an element of a set."""

    def __hash__(self):
        return hash(tuple(sorted((str(key), hash(value)) for key, value in self.items())))

    def __repr__(self):
        return 'frozendict(%s)' % dict.__repr__(self)


class _Invalid(Exception):
    pass


class UnknownFieldError(AttributeError):
    """A struct has no such field."""


class InvalidValueError(ValueError):
    """A value does not fit where it is put."""


class InvalidCallError(TypeError):
    """A call has a wrong form."""


class Ref(object):
    """An address such as task.name or thermos.ports[http]."""

    InvalidRefError = type('InvalidRefError', (_Invalid,), {})

    def __init__(self, components):
        self._components = tuple(components)

    @staticmethod
    def from_address(address):
        if not isinstance(address, str):
            raise Ref.InvalidRefError('Invalid address: %r' % (address,))
        return Ref(_jobfile.parse_reference(address))

    @staticmethod
    def wrap(value):
        return value if isinstance(value, Ref) else Ref.from_address(value)

    def components(self):
        return self._components

    def address(self):
        parts = [('.%s' if kind == 'name' else '[%s]') % text for kind, text in self._components]
        return ''.join(parts).removeprefix('.')

    def __str__(self):
        return '{{%s}}' % self.address()

    def __repr__(self):
        return 'Ref(%s)' % self.address()

    def __eq__(self, other):
        return isinstance(other, Ref) and self._components == other._components

    def __hash__(self):
        return hash(self._components)

    def __lt__(self, other):
        return self.address() < other.address()


class Environment(Namable):
    """A table of names bound to values."""

    def __init__(self, *parts, **names):
        self._table = _jobfile.table(parts, names)

    def __repr__(self):
        return 'Environment(%s)' % ', '.join(self._table.addresses())


class MustacheParser(object):
    """Texts with references in double braces."""

    class Error(Exception):
        pass

    class Uninterpolatable(Error):
        pass

    @classmethod
    def split(cls, text, keep_aliases=False):
        pieces = _jobfile.split_template(text, keep_aliases)
        return [Ref.from_address(piece[0]) if isinstance(piece, tuple) else piece for piece in pieces]

    @classmethod
    def resolve(cls, text, *scopes):
        resolved, unbound = String(text).in_scope(*scopes).interpolate()
        return str(resolved), unbound


class TypeCheck(object):
    """What check() found."""

    def __init__(self, success, message=''):
        self._success = success
        self._message = message

    @staticmethod
    def success():
        return TypeCheck(True)

    @staticmethod
    def failure(message):
        return TypeCheck(False, message)

    def ok(self):
        return self._success

    def message(self):
        return self._message

    def __bool__(self):
        return self._success

    def __repr__(self):
        return 'TypeCheck(OK)' if self._success else 'TypeCheck(FAILED): %s' % self._message


class Type(object):
    """The base of everything that can be the type of a field."""


class TypeFactory(object):
    """Kept for files that name it."""


class Object(Type):
    """The base of all configuration objects."""

    __slots__ = ('_core',)
    _kind = None

    class CoercionError(ValueError):
        pass

    class InterpolationError(Exception):
        pass

    def __init__(self, value):
        self._core = _jobfile.construct(self._kind, value)

    def _with(self, core):
        new = object.__new__(type(self))
        new._core = core
        return new

    def copy(self):
        return self._with(self._core)

    dup = __copy__ = copy

    def __deepcopy__(self, _known):
        return self.copy()

    def bind(self, *bindings, **names):
        return self._with(self._core.bind(bindings, names))

    def in_scope(self, *bindings, **names):
        return self._with(self._core.in_scope(bindings, names))

    def interpolate(self):
        core, unbound = self._core.interpolate()
        return _wrap(core), [Ref.from_address(address) for address in unbound]

    def check(self):
        why = self._core.check()
        return TypeCheck(True) if why is None else TypeCheck(False, why)

    def get(self):
        return self._core.raw()

    def __mod__(self, binding):
        return self.bind(binding).interpolate()[0]

    def __eq__(self, other):
        return isinstance(other, Object) and self._core.same(other._core)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self.get())

    def __str__(self):
        return self._core.text()

    def __repr__(self):
        return self._core.literal()

    @classmethod
    def serialize_type(cls):
        return cls._kind.fingerprint


class SimpleObject(Object):
    """A text, a number or a truth value."""

    __slots__ = ()

    def __lt__(self, other):
        return type(self) is not type(other) or self.interpolate()[0].get() < other.interpolate()[0].get()

    def __gt__(self, other):
        return type(self) is type(other) and self.interpolate()[0].get() > other.interpolate()[0].get()

    def __le__(self, other):
        return self < other or self == other

    def __ge__(self, other):
        return self > other or self == other


class EnumContainer(SimpleObject):
    __slots__ = ()


class ListContainer(Object, Namable):
    __slots__ = ()

    def __iter__(self):
        return iter([_wrap(core) for core in self._core.items()])

    def __getitem__(self, index):
        return tuple(self)[index]

    def __contains__(self, item):
        if isinstance(item, Object):
            return any(item == element for element in self)
        return any(item == element.get() for element in self)


class MapContainer(Object, Namable):
    __slots__ = ()

    def __init__(self, *parts):
        if len(parts) == 1 and isinstance(parts[0], dict):
            self._core = _jobfile.construct(self._kind, parts[0])
        else:
            self._core = _jobfile.construct_map(self._kind, parts)

    def _entries(self):
        return [(_wrap(key), _wrap(value)) for key, value in self._core.entries()]

    def __iter__(self):
        return iter([key for key, _ in self._entries()])

    def __getitem__(self, wanted):
        key_class = _class_of(self._kind.parts[0])
        if not isinstance(wanted, key_class):
            wanted = key_class(wanted)
        for key, value in self._entries():
            if key == wanted:
                return value
        raise KeyError('%s not found' % wanted)

    def __contains__(self, wanted):
        try:
            self[wanted]
        except KeyError:
            return False
        return True


class ChoiceContainer(Object):
    __slots__ = ()

    def unwrap(self):
        return self.interpolate()[0]


class Structural(Object, Namable):
    """The base of all structs."""

    def __init__(self, *dictionaries, **fields):
        self._core = _jobfile.construct_struct(self._kind, dictionaries, fields)

    def __call__(self, *dictionaries, **fields):
        if dictionaries:
            raise InvalidCallError('a %s is called with fields by name, as in job(name=...), not with a dictionary; write **{...}'
                                   % type(self).__name__)
        return self._with(self._core.with_fields(fields))

    def __getattr__(self, name):
        kind = type(self)._kind
        if kind is None or name.startswith('__') or name == '_core':
            raise AttributeError(name)
        fields = type(self)._fields
        if name in fields:
            return lambda: self._field(name)
        if name.startswith('has_') and name[4:] in fields:
            return lambda: self._core.has(name[4:])
        raise kind.unknown_field(name)

    def _field(self, name):
        core = self._core.field(name)
        return Empty if core is None else _wrap(core)

    def json_dumps(self):
        return self._core.json()

    def json_dump(self, out):
        out.write(self._core.json())

    @classmethod
    def json_loads(cls, text, strict=False):
        import json
        values = json.loads(text)
        return cls(values if strict else cls._known(values))

    @classmethod
    def json_load(cls, source, strict=False):
        return cls.json_loads(source.read(), strict)

    @classmethod
    def _known(cls, values):
        known = {}
        for name, value in values.items():
            field_class = cls.TYPEMAP.get(name)
            if field_class is not None:
                nested = isinstance(value, dict) and issubclass(field_class, Structural)
                known[name] = field_class._known(value) if nested else value
        return known


class _Signature(object):
    """A field's declaration: its class, whether it must be set, its default."""

    def __init__(self, cls, required=False, default=Empty):
        if not (isinstance(cls, type) and issubclass(cls, Object)):
            raise InvalidCallError('Required() and Default() take a configuration type such as String or a Struct, not %r'
                            % (cls,))
        self.cls = cls
        self.required = required
        self.default = default


def Required(cls):
    return _Signature(cls, required=True)


def Default(cls, default):
    return _Signature(cls, default=default)


_derived = [0]


class _StructMeta(type):
    """Makes the fields in a class body the fields of a new type."""

    def __new__(meta, name, bases, body):
        if Struct is None:
            return type.__new__(meta, name, bases, body)
        if Struct in bases:
            fields = []
            for field, value in body.items():
                if isinstance(value, type) and issubclass(value, Object):
                    value = _Signature(value)
                if isinstance(value, _Signature):
                    fields.append((field, value.cls._kind, value.required, value.default))
            return _class_of(_jobfile.struct_type(name, fields))
        base = next(base for base in bases if isinstance(base, _StructMeta))
        _derived[0] += 1
        body = dict(body)
        body['_kind'] = _jobfile.derived_type(name, base._kind, _derived[0])
        cls = type.__new__(meta, name, bases, body)
        cls._fields = base._fields
        _classes[cls._kind.fingerprint] = cls
        return cls

    def __init__(cls, name, bases, body):
        pass

    def __instancecheck__(cls, instance):
        if cls is Struct or cls is Structural:
            return issubclass(type(instance), Structural)
        return type(instance) is cls

    @property
    def TYPEMAP(cls):
        return dict((name, _field_class(cls, name)) for name in cls._fields)


Struct = None


class Struct(Structural, metaclass=_StructMeta):
    """The class to derive own structs from."""

    _fields = ()


_classes = {}
_bases = {'String': SimpleObject, 'Integer': SimpleObject, 'Float': SimpleObject, 'Boolean': SimpleObject,
          'Enum': EnumContainer, 'List': ListContainer, 'Map': MapContainer, 'Choice': ChoiceContainer}


def _class_of(kind):
    """The class of a type; the same one for equal types."""
    cls = _classes.get(kind.fingerprint)
    if cls is None:
        if kind.shape == 'Struct':
            cls = type.__new__(_StructMeta, kind.name, (Struct,), {'_kind': kind, '__module__': 'pystachio'})
            cls._fields = tuple(kind.fields)
        else:
            cls = type(kind.name, (_bases[kind.shape],), {'_kind': kind, '__module__': 'pystachio', '__slots__': ()})
        _classes[kind.fingerprint] = cls
    return cls


def _field_class(cls, name):
    return _class_of(_jobfile.field_type(cls._kind, name))


def _wrap(core):
    """The instance around a native object."""
    cls = _classes.get(core.fingerprint)
    if cls is None:
        cls = _class_of(core.kind)
    new = object.__new__(cls)
    new._core = core
    return new


_jobfile.register({'Coercion': Object.CoercionError, 'Value': InvalidValueError, 'Type': InvalidCallError,
                   'UnknownField': UnknownFieldError, 'InvalidReference': Ref.InvalidRefError,
                   'Endless': MustacheParser.Uninterpolatable, 'Key': KeyError, 'Index': IndexError},
                  Empty, _wrap, frozendict)

schema = dict((kind.name, _class_of(kind)) for kind in _jobfile.built_in_types())

String = schema.pop('String')
Integer = schema.pop('Integer')
Float = schema.pop('Float')
Boolean = schema.pop('Boolean')


def _type_arguments(what, arguments):
    for argument in arguments:
        if not (isinstance(argument, type) and issubclass(argument, Object)):
            raise InvalidCallError('%s takes configuration types such as String or a Struct, not %r' % (what, argument))


def List(item):
    _type_arguments('List', [item])
    return _class_of(_jobfile.list_type(item._kind))


def Map(key, value):
    _type_arguments('Map', [key, value])
    return _class_of(_jobfile.map_type(key._kind, value._kind))


def Choice(*arguments):
    name, alternatives = arguments if len(arguments) == 2 else (None, arguments[0])
    _type_arguments('Choice', alternatives)
    return _class_of(_jobfile.choice_type(name, [alternative._kind for alternative in alternatives]))


def Enum(*arguments):
    if len(arguments) == 2 and isinstance(arguments[0], str) and isinstance(arguments[1], (list, tuple)):
        name, values = arguments
    else:
        name, values = 'Enum_' + '_'.join(arguments), arguments
    return _class_of(_jobfile.enum_type(name, list(values)))


def Provided(*_arguments, **_names):
    """Declared later bindings in very old files; has no effect."""
    return lambda cls: cls
