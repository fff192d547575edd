"""LLVM vectors for the kernels: what the host has, and the few instructions that the tiles are made of.

`llvmlite` refuses vector types in `declare_intrinsic`, so the LLVM functions are declared by name.
"""

from dataclasses import dataclass

from llvmlite import ir
from numba import config
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
REALS = {4: ir.FloatType(), 8: ir.DoubleType()}  # by the bytes of an element


@dataclass(frozen=True)
class Host:
    """Bytes of a vector register, number of vector registers, and whether one instruction multiplies and adds."""

    bytes: int
    registers: int
    fma: bool


def host() -> Host:
    """What the compiled code may use: what NUMBA_CPU_FEATURES says, else what the processor has."""
    found = set((config.CPU_FEATURES or get_host_cpu_features()).split(","))
    if "+avx512f" in found and "+avx512vl" in found:
        return Host(64, 32, True)
    if "+neon" in found:
        return Host(16, 32, True)
    return Host(32 if "+avx" in found else 16, 16, "+fma" in found)


HOST = host()


def integer(value: int):
    return ir.Constant(I64, value)


class Vectors:
    """Instructions on vectors of `lanes` elements of `itemsize` bytes, emitted with `builder`."""

    def __init__(self, builder, lanes: int, itemsize: int):
        self.builder, self.lanes, self.itemsize, self.real = builder, lanes, itemsize, REALS[itemsize]
        self.type = ir.VectorType(self.real, lanes)
        self.mask_type, self.index_type = ir.VectorType(I1, lanes), ir.VectorType(I32, lanes)
        self.align = ir.Constant(I32, itemsize)
        self.zero, self.everything = self.constant(0.0), ir.Constant(self.mask_type, [1] * lanes)
        self.nothing = ir.Constant(self.mask_type, [0] * lanes)
        self.suffix = f"v{lanes}f{8 * itemsize}"

    def constant(self, value: float):
        return ir.Constant(self.type, [value] * self.lanes)

    def function(self, name, result, *parameters):
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, parameters), name)

    def splat(self, value, of=None):
        """`value` in every lane."""
        undefined = ir.Constant(of or self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(one, undefined, ir.Constant(self.index_type, [0] * self.lanes))

    def below(self, count):
        """A mask of the first `count` lanes."""
        lane = ir.Constant(self.index_type, list(range(self.lanes)))
        return self.builder.icmp_signed("<", lane, self.splat(self.builder.trunc(count, I32), self.index_type))

    def load(self, pointer, mask=None, otherwise=None, of=None):
        kind = of or self.type
        pointer = self.builder.bitcast(pointer, kind.as_pointer())
        if mask is None:
            loaded = self.builder.load(pointer)
            loaded.align = self.align.constant
            return loaded
        suffix = f"v{self.lanes}i32" if of else self.suffix
        masked = self.function(f"llvm.masked.load.{suffix}.p0", kind, kind.as_pointer(), I32, self.mask_type, kind)
        return self.builder.call(masked, [pointer, self.align, mask, self.zero if otherwise is None else otherwise])

    def store(self, value, pointer, mask):
        kind = value.type
        suffix = f"v{self.lanes}i32" if kind == self.index_type else self.suffix
        masked = self.function(
            f"llvm.masked.store.{suffix}.p0", ir.VoidType(), kind, kind.as_pointer(), I32, self.mask_type
        )
        pointer = self.builder.bitcast(pointer, kind.as_pointer())
        self.builder.call(masked, [value, pointer, self.align, mask])

    SECOND, NEAREST = 2, 3  # into which cache `prefetch` brings a line, at the farthest

    def prefetch(self, pointer, into=NEAREST, write=False):
        """Ask for the cache line of an address that will be used soon; the address need not be valid."""
        function = self.function("llvm.prefetch.p0", ir.VoidType(), pointer.type, I32, I32, I32)
        self.builder.call(function, [pointer, *(ir.Constant(I32, n) for n in (int(write), into, 1))])  # 1: data

    def multiply_add(self, a, b, c):
        # without the instruction, llvm.fma is a library call: 3 GFLOP/s in place of 80
        name = f"llvm.{'fma' if HOST.fma else 'fmuladd'}.{self.suffix}"
        return self.builder.call(self.function(name, self.type, self.type, self.type, self.type), [a, b, c])

    def trap(self):
        """End the process: what must never happen is not to pass in silence."""
        self.builder.call(self.function("llvm.trap", ir.VoidType()), [])
        self.builder.unreachable()

    def maximum(self, value, floor):
        """max(value, floor) that lets a NaN in `value` through, as one instruction: training must see a NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, floor), floor, value)


def at(builder, pointer, offset):
    """The pointer `offset` elements further."""
    return builder.gep(pointer, [offset])


def opaque(builder, value):
    """The integer, of an origin unknown to LLVM."""
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], False)


def phis(kind, values, source, builder):
    """One phi a value, each coming from the block `source` with that value."""
    found = []
    for value in values:
        phi = builder.phi(kind)
        phi.add_incoming(value, source)
        found.append(phi)
    return found
