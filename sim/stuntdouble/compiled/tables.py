"""Tables that do not move, as compiled code sees them.

numpy arrays are safe where tables need not be: an index may be negative, an array may be strided,
two arrays may be the same memory.  Each costs instructions at every access, and together they cost
the optimiser what it would like to know.  A table is a pointer; its rows, columns and type are part
of its *type*, so that an access is one load or store, and a store to one table changes no other.

    table of addresses ──viewer──▶ a named tuple of tables: k.jobs[job, J_OWNER]

Rows are counted from 0 and nothing is checked; columns are given as well, always.  Where the
compiler is switched off (``NUMBA_DISABLE_JIT``), the same views are numpy arrays.
"""

from __future__ import annotations

import ctypes
import operator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import intrinsic, lower_builtin, lower_getattr, models, register_model
from numba.np.numpy_support import carray, from_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Shape", "as_pointer", "prefetch", "prefetch_cell", "viewer"]

_config: Any = config  # numba sets what it holds when it is imported
_PLAIN = bool(_config.DISABLE_JIT)

Shape = tuple[int, int, Any]
"""Rows, columns and numpy type of a table."""


class Table(types.Type):
    """The type of one table; those of the same *memory* are views of each other."""

    def __init__(self, memory: str, shape: Shape) -> None:
        self.memory = memory
        self.rows, self.columns = shape[:2]
        self.dtype = from_dtype(np.dtype(shape[2]))
        super().__init__(f"table({memory}, {self.rows}, {self.columns}, {self.dtype})")


@register_model(Table)
class _TableModel(models.PrimitiveModel):
    def __init__(self, manager: Any, table: Table) -> None:
        cell = manager.lookup(table.dtype).get_data_type()
        super().__init__(manager, table, cell.as_pointer())


# What may be done with a table: read a cell, write a cell, ask for its shape. ----------------------


def _is_cell(table: Any, index: Any) -> bool:
    return isinstance(table, Table) and isinstance(index, types.BaseTuple) and len(index) == 2


@infer_global(operator.getitem)
class _TypeOfGet(AbstractTemplate):
    def generic(self, args: Any, _kws: Any) -> Any:
        table, index = args
        return signature(table.dtype, table, index) if _is_cell(table, index) else None


@infer_global(operator.setitem)
class _TypeOfSet(AbstractTemplate):
    def generic(self, args: Any, _kws: Any) -> Any:
        table, index, _value = args
        if not _is_cell(table, index):
            return None
        return signature(types.none, table, index, table.dtype)


@infer_getattr
class _TypeOfShape(AttributeTemplate):
    key = Table

    def resolve_shape(self, _table: Table) -> Any:
        return types.UniTuple(types.intp, 2)


def _cell(context: Any, builder: Any, table: Table, args: Any, index_type: Any) -> Any:
    """Return a pointer to a cell."""
    pointer, index = args
    parts = cgutils.unpack_tuple(builder, index, 2)
    row, column = (
        context.cast(builder, part, kind, types.intp)
        for part, kind in zip(parts, index_type, strict=True)
    )
    first = builder.mul(row, ir.Constant(row.type, table.columns), flags=["nsw"])
    return builder.gep(pointer, [builder.add(first, column, flags=["nsw"])], inbounds=True)


def _tell(builder: Any, access: Any, table: Table) -> None:
    """Tell the optimiser that nothing but this table's memory is accessed."""
    module = builder.module
    zero = ir.Constant(ir.IntType(64), 0)
    root = module.add_metadata(["tables of stuntdouble"])
    kind = module.add_metadata([table.memory, root, zero])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, zero]))


@lower_builtin(operator.getitem, Table, types.BaseTuple)
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table, index = sig.args
    found = builder.load(_cell(context, builder, table, args, index))
    _tell(builder, found, table)
    return found


@lower_builtin(operator.setitem, Table, types.BaseTuple, types.Any)
def _set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    table, index, kind = sig.args
    value = context.cast(builder, args[2], kind, table.dtype)
    _tell(builder, builder.store(value, _cell(context, builder, table, args[:2], index)), table)
    return context.get_dummy_value()


@lower_getattr(Table, "shape")
def _shape(context: Any, builder: Any, table: Table, _value: Any) -> Any:
    sizes = [context.get_constant(types.intp, size) for size in (table.rows, table.columns)]
    return context.make_tuple(builder, types.UniTuple(types.intp, 2), sizes)


# How they are come by. -----------------------------------------------------------------------------


def viewer(
    kind: type[Any], shapes: Mapping[str, Shape], same: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """Return a function for compiled code: from the address of a table of addresses to a *kind*.

    Args:
        kind: a named tuple with a field for each table.
        shapes: of each table, by the name of its field.
        same: fields whose table is the memory of another field's.

    The table of addresses has a row of int64 for each field: address, and number of rows.
    """
    memory = {name: (same or {}).get(name, name) for name in shapes}
    if _PLAIN:

        def plain(at: Any) -> Any:
            rows = carray(as_pointer(at), (len(shapes), 2), np.int64)
            return kind(*(
                carray(as_pointer(rows[i, 0]), (int(rows[i, 1]), shape[1]), shape[2])
                for i, shape in enumerate(shapes[name] for name in kind._fields)
            ))  # fmt: skip

        return plain
    tables = [Table(f"{kind.__name__}.{memory[name]}", shapes[name]) for name in kind._fields]

    @intrinsic
    def view(_typing: Any, _at: Any) -> Any:
        whole = types.NamedTuple(tables, kind)

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return _load_addresses(context, builder, whole, args[0])

        return whole(types.intp), generate

    return cast("Callable[[Any], Any]", view)


def _load_addresses(context: Any, builder: Any, whole: Any, at: Any) -> Any:
    word = ir.IntType(64)
    addresses = builder.inttoptr(at, word.as_pointer())
    pointers = []
    for i, table in enumerate(whole.types):
        address = builder.load(builder.gep(addresses, [ir.Constant(word, 2 * i)]))
        address.set_metadata("invariant.load", builder.module.add_metadata([]))
        pointers.append(builder.inttoptr(address, context.get_value_type(table)))
    return context.make_tuple(builder, whole, pointers)


if _PLAIN:

    def as_pointer(address: Any) -> Any:
        """Turn an address into a pointer that ``carray`` takes."""
        return ctypes.c_void_p(int(address))

    def prefetch(address: Any) -> None:
        """Let the memory at an address come near, without waiting for it."""

    def prefetch_cell(table: Any, row: Any, column: Any) -> None:
        """Let a cell of a table come near, without waiting for it."""

else:

    @intrinsic
    def as_pointer(_typing: Any, _address: Any) -> Any:
        """Turn an address into a pointer that ``carray`` takes."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return types.voidptr(types.intp), generate

    @intrinsic
    def prefetch(_typing: Any, _address: Any) -> Any:
        """Let the memory at an address come near, without waiting for it."""

        def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
            _fetch(builder, builder.inttoptr(args[0], ir.IntType(8).as_pointer()))
            return context.get_dummy_value()

        return types.none(types.intp), generate

    @intrinsic
    def prefetch_cell(_typing: Any, table: Any, _row: Any, _column: Any) -> Any:
        """Let a cell of a table come near, without waiting for it."""
        sig = types.none(table, types.intp, types.intp)

        def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
            pair = types.UniTuple(types.intp, 2)
            index = context.make_tuple(builder, pair, args[1:])
            cell = _cell(context, builder, table, (args[0], index), pair)
            _fetch(builder, builder.bitcast(cell, ir.IntType(8).as_pointer()))
            return context.get_dummy_value()

        return sig, generate


def _fetch(builder: Any, pointer: Any) -> None:
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    fetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
    to_read, keep, data = (ir.Constant(number, n) for n in (0, 3, 1))
    builder.call(fetch, [pointer, to_read, keep, data])
