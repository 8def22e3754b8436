# SPDX-License-Identifier: GPL-2.0
"""Reads the part of syzkaller's description and program languages that is used here.

The parser is strict: anything that it does not understand is an error, with its line.
"""
import re
from collections import namedtuple

Type = namedtuple("Type", "name options")
Field = namedtuple("Field", "name type")
Call = namedtuple("Call", "name args returns line")


class Error(Exception):
    pass


TOKEN = re.compile(r'\s*(?:(?P<string>"[^"]*")|(?P<number>-?(?:0x[0-9a-f]+|[0-9]+)\b)'
                   r'|(?P<word>[A-Za-z_][A-Za-z0-9_$]*)|(?P<sign>[][(){},=:&@<>]))')


class Tokens:
    def __init__(self, text, line):
        self.line, self.at, self.tokens = line, 0, []
        end = 0
        text = text.rstrip()
        while end < len(text):
            match = TOKEN.match(text, end)
            if not match:
                raise Error(f"line {line}: not understood: {text[end:].strip()}")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            end = match.end()

    def peek(self):
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def next(self, kind=None, value=None):
        if self.at == len(self.tokens):
            raise Error(f"line {self.line}: it ends too early")
        got, text = self.tokens[self.at]
        if (kind and got != kind) or (value and text != value):
            raise Error(f"line {self.line}: '{text}' where {value or kind} should be")
        self.at += 1
        return text

    def end(self):
        if self.at < len(self.tokens):
            raise Error(f"line {self.line}: '{self.peek()}' is too much")


def number(text):
    return int(text, 0)


def parse_type(tokens):
    name, options = tokens.next("word"), []
    if tokens.peek() == "[":
        tokens.next()
        while True:
            kind = tokens.tokens[tokens.at][0] if tokens.peek() else None
            if kind == "word":
                options.append(parse_type(tokens))
            elif kind == "string":
                options.append(tokens.next()[1:-1])
            elif kind == "number":
                options.append(number(tokens.next()))
            else:
                raise Error(f"line {tokens.line}: '{tokens.peek()}' is no option of {name}")
            if tokens.next("sign") == "]":
                break
    return Type(name, tuple(options))


class Description:
    """What a .txt file says."""

    def __init__(self, path):
        self.includes, self.defines, self.arches = [], {}, []
        self.resources, self.calls, self.structs = {}, {}, {}
        self.flags, self.strings = {}, {}
        inside = None
        for line, text in enumerate(open(path, encoding="ascii"), 1):
            text = text.split("#")[0].rstrip()
            if not text:
                continue
            if inside is not None:
                if text == "}":
                    inside = None
                else:
                    self.field(inside, text, line)
            else:
                inside = self.top(text, line)
        if inside is not None:
            raise Error("a structure does not end")

    def once(self, where, name, value, line):
        others = (self.resources, self.structs, self.flags, self.strings, self.defines)
        # A call may be called as a structure.
        if name in where or where is not self.calls and any(name in names for names in others):
            raise Error(f"line {line}: {name} is there twice")
        where[name] = value

    def top(self, text, line):
        match = re.fullmatch(r"include <([a-z0-9_/]+\.h)>", text)
        if match:
            self.includes.append(match[1])
            return None
        match = re.fullmatch(r"define (\w+)\s+(.+)", text)
        if match:
            self.once(self.defines, match[1], match[2], line)
            return None
        match = re.fullmatch(r'meta arches\["(\w+)"\]', text)
        if match:
            self.arches.append(match[1])
            return None
        tokens = Tokens(text, line)
        name = tokens.next("word")
        if name == "resource":
            self.resource(tokens, line)
        elif tokens.peek() == "(":
            self.call(name, tokens, line)
        elif tokens.peek() == "{":
            tokens.next()
            tokens.end()
            fields = []
            self.once(self.structs, name, fields, line)
            return fields
        elif tokens.peek() == "=":
            tokens.next()
            self.set(name, tokens, line)
        else:
            raise Error(f"line {line}: what is '{name}'?")
        return None

    def field(self, fields, text, line):
        tokens = Tokens(text, line)
        name = tokens.next("word")
        if name in [field.name for field in fields]:
            raise Error(f"line {line}: {name} is there twice")
        fields.append(Field(name, parse_type(tokens)))
        tokens.end()

    def resource(self, tokens, line):
        name, values = tokens.next("word"), []
        tokens.next("sign", "[")
        base = tokens.next("word")
        tokens.next("sign", "]")
        if tokens.peek() == ":":
            tokens.next()
            values.append(number(tokens.next("number")))
            while tokens.peek() == ",":
                tokens.next()
                values.append(number(tokens.next("number")))
        tokens.end()
        self.once(self.resources, name, (base, values), line)

    def call(self, name, tokens, line):
        args, returns = [], None
        tokens.next("sign", "(")
        while tokens.peek() != ")":
            if args:
                tokens.next("sign", ",")
            args.append(Field(tokens.next("word"), parse_type(tokens)))
        tokens.next()
        if tokens.peek():
            returns = tokens.next("word")
        tokens.end()
        self.once(self.calls, name, Call(name, args, returns, line), line)

    def set(self, name, tokens, line):
        strings, values = [], []
        while True:
            kind = tokens.tokens[tokens.at][0] if tokens.peek() else None
            value = tokens.next()
            if kind == "string":
                strings.append(value[1:-1])
            elif kind == "number":
                values.append(number(value))
            elif kind == "word":
                values.append(value)
            else:
                raise Error(f"line {line}: '{value}' in a set")
            if not tokens.peek():
                break
            tokens.next("sign", ",")
        if strings and values:
            raise Error(f"line {line}: strings and numbers in one set")
        everything = strings or values
        if len(set(everything)) != len(everything):
            raise Error(f"line {line}: {name} has a value twice")
        self.once(self.strings if strings else self.flags, name, everything, line)

    def types(self):
        """Every type that is used, with where."""
        def inner(type, where):
            yield type, where
            for option in type.options:
                if isinstance(option, Type):
                    yield from inner(option, where)
        for call in self.calls.values():
            for arg in call.args:
                yield from inner(arg.type, f"{call.name}, {arg.name}")
        for name, fields in self.structs.items():
            for field in fields:
                yield from inner(field.type, f"{name}, {field.name}")

    def constants(self):
        """Symbols that the headers have to explain."""
        symbols = set()
        for values in self.flags.values():
            symbols |= {value for value in values if isinstance(value, str)}
        for type, _ in self.types():
            if type.name == "const" and isinstance(type.options[0], Type):
                symbols.add(type.options[0].name)
        return symbols


# Programs: a call a line, whose arguments are numbers, rN, pointers, and in them
# strings, structures and arrays.

Pointer = namedtuple("Pointer", "address value")
Result = namedtuple("Result", "name")
ProgramCall = namedtuple("ProgramCall", "result name args line")

PROGRAM = re.compile(r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<data>\"[0-9a-f]*\"(?:/[0-9]+)?)"
                     r"|(?P<number>0x[0-9a-f]+)|(?P<result>r[0-9]+)"
                     r"|(?P<word>[A-Za-z_][A-Za-z0-9_$]*)|(?P<sign>[][(){},=&]))")


class Program:
    def __init__(self, path):
        self.calls = []
        known = set()
        for line, text in enumerate(open(path, encoding="ascii"), 1):
            text = text.split("#")[0].strip()
            if text:
                self.tokens, self.line = self.split(text, line), line
                self.calls.append(self.call(known))

    def split(self, text, line):
        tokens, end = [], 0
        while end < len(text):
            match = PROGRAM.match(text, end)
            if not match:
                raise Error(f"line {line}: not understood: {text[end:]}")
            tokens.append((match.lastgroup, match.group(match.lastgroup)))
            end = match.end()
        return tokens

    def next(self, kind=None, value=None):
        if not self.tokens:
            raise Error(f"line {self.line}: it ends too early")
        got, text = self.tokens.pop(0)
        if (kind and got != kind) or (value and text != value):
            raise Error(f"line {self.line}: '{text}' where {value or kind} should be")
        return text

    def call(self, known):
        result = None
        if self.tokens[0][0] == "result":
            result = self.next()
            self.next("sign", "=")
        name = self.next("word")
        self.next("sign", "(")
        args = self.list(")", known)
        if self.tokens:
            raise Error(f"line {self.line}: '{self.tokens[0][1]}' is too much")
        if result:
            known.add(result)
        return ProgramCall(result, name, args, self.line)

    def list(self, end, known):
        values = []
        while self.tokens and self.tokens[0][1] != end:
            if values:
                self.next("sign", ",")
            values.append(self.value(known))
        self.next("sign", end)
        return values

    def value(self, known):
        kind, text = self.tokens.pop(0) if self.tokens else (None, "its end")
        if kind == "number":
            return int(text, 16)
        if kind == "result":
            if text not in known:
                raise Error(f"line {self.line}: {text} is not known yet")
            return Result(text)
        if kind in ("string", "data"):
            return text
        if text == "&":
            self.next("sign", "(")
            address = int(self.next("number"), 16)
            self.next("sign", ")")
            # Where the kernel writes there is no value.
            if not self.tokens or self.tokens[0][1] != "=":
                return Pointer(address, None)
            self.next()
            return Pointer(address, self.value(known))
        if text == "{":
            return tuple(self.list("}", known))
        if text == "[":
            return self.list("]", known)
        raise Error(f"line {self.line}: '{text}' is no value")
