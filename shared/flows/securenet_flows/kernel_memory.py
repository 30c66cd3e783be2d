"""Two things that compiled loops over tables cannot say in Python: what memory comes next, and that nobody counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

# numba's own are untyped.
_CODE: Final[Any] = cgutils

_WRITE, _KEEP, _DATA = 1, 3, 1
_LINE_BYTES: Final = 64


def _prefetch(_context: Any, table: Any, row: Any, line: Any) -> Any:
    if not isinstance(table, types.Array) or table.layout != "C":
        raise TypingError(f"prefetch of {table}; expected a contiguous table")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array_type = signature.args[0]
        array = context.make_array(array_type)(context, builder, values[0])
        at, of = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(values[1:], signature.args[1:], strict=True)
        )
        zero = context.get_constant(types.intp, 0)
        row_at = _CODE.get_item_pointer(context, builder, array_type, array, [at] + [zero] * (array_type.ndim - 1))
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        place = builder.gep(
            builder.bitcast(row_at, pointer), [builder.mul(of, context.get_constant(types.intp, _LINE_BYTES))]
        )
        function = _CODE.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), (pointer, number, number, number)), "llvm.prefetch.p0i8"
        )
        builder.call(function, (place, *(ir.Constant(number, n) for n in (_WRITE, _KEEP, _DATA))))
        return context.get_dummy_value()

    return types.void(table, row, line), generate


def _borrowed(_context: Any, array: Any) -> Any:
    if not isinstance(array, types.Array):
        raise TypingError(f"borrowed {array}; expected an array")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        make = context.make_array(signature.args[0])
        given, bare = make(context, builder, values[0]), make(context, builder)
        context.populate_array(
            bare, data=given.data, shape=given.shape, strides=given.strides, itemsize=given.itemsize, meminfo=None
        )
        return bare._getvalue()  # noqa: SLF001 - the one way there is

    return array(array), generate


#: `prefetch(table, row, line)` fetches a cache line of `table[row]`, of a C-contiguous table, and changes nothing.
#: Lines are counted from the row's beginning. The place is not checked: a wrong one fetches nothing of use.
prefetch: Final[Callable[..., Any]] = intrinsic(_prefetch)

#: `borrowed(array)` is the same array without its owner; of arguments alone, since nothing else outlives the function
#: that looks at it. References to it are not counted: each view of a row and each call with an owned array counts up
#: and down, and a counter that threads share takes longer than most of what is done with the row.
borrowed: Final[Callable[..., Any]] = intrinsic(_borrowed)
