"""Generates shared/generated from proto/, from nothing but what is installed: `make proto`.

protovalidate ships its rules as generated code and not as a .proto file, so their descriptor is taken from the
installed package and handed to protoc as a descriptor set; the version that validates at run time is the version that
was generated against.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from importlib import resources
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from protovalidate._gen.buf.validate import validate_pb

REPOSITORY = Path(__file__).resolve().parent.parent
PROTO = REPOSITORY / "proto"
GENERATED = REPOSITORY / "shared" / "generated"
PACKAGES = ("securenet", "buf")


def rules_descriptor() -> bytes:
    """buf/validate/validate.proto with all that it imports, as a serialised FileDescriptorSet."""
    rules = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    files = descriptor_pb2.FileDescriptorSet()
    for imported in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        imported.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(rules)
    return files.SerializeToString()


def protoc(*arguments: str) -> None:
    """Runs the protoc of grpcio-tools; its own messages go to stderr.

    Raises:
        SystemExit: protoc failed.
    """
    # The plug-ins of mypy-protobuf stand beside the interpreter, which need not be on the PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    result = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if result.returncode:
        raise SystemExit(f"{result.stderr.strip()}\nprotoc failed with exit code {result.returncode}")


def contract_files(proto: Path = PROTO) -> list[str]:
    """The .proto files below `proto` by their import paths, sorted."""
    return sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto"))


#: buf's extension of a file in an image, field 8042 `{is_import: true}`: it is there to be imported, not to be judged.
IS_IMPORT = b"\xd2\xf6\x03\x02\x08\x01"


def mark_imports(descriptors: bytes, ours: Collection[str]) -> bytes:
    """The same FileDescriptorSet, in which every file that is not one of `ours` bears buf's mark of an import."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    for file in files.file:
        if file.name not in ours:
            file.MergeFromString(IS_IMPORT)
    return files.SerializeToString()


def image(output: Path, proto: Path = PROTO) -> None:
    """Writes all contracts below `proto` with their comments in the form in which buf reads them here."""
    descriptors(output, proto)
    output.write_bytes(mark_imports(output.read_bytes(), set(contract_files(proto))))


def descriptors(output: Path, proto: Path = PROTO) -> None:
    """Writes all contracts with their comments, and what they import, as one FileDescriptorSet."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.binpb"
        rules.write_bytes(rules_descriptor())
        protoc(
            f"--descriptor_set_in={rules}",
            f"--proto_path={proto}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={output}",
            *contract_files(proto),
        )


def generate(output: Path) -> None:
    """Writes modules and type stubs of every contract, and of the rules, below `output`."""
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "everything.binpb"
        descriptors(everything)
        protoc(
            f"--descriptor_set_in={everything}",
            f"--python_out={output}",
            f"--pyi_out={output}",
            "buf/validate/validate.proto",
        )
        protoc(
            f"--descriptor_set_in={everything}",
            f"--python_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_out=relax_strict_optional_primitives:{output}",
            f"--mypy_grpc_out={output}",
            *contract_files(),
        )
    for stub in output.rglob("*_pb2_grpc.pyi"):
        # mypy-protobuf writes stubs of a service module also for files that hold no service.
        if not stub.with_suffix(".py").exists():
            stub.unlink()


def differences(fresh: Path) -> list[str]:
    """Paths below the packages that differ between `fresh` and what is committed."""
    found: list[str] = []
    for package in PACKAGES:
        names = {
            path.relative_to(root).as_posix()
            for root in (fresh, GENERATED)
            for path in (root / package).rglob("*")
            if path.suffix in {".py", ".pyi"}
        }
        for name in sorted(names):
            old, new = GENERATED / name, fresh / name
            if not (old.is_file() and new.is_file() and filecmp.cmp(old, new, shallow=False)):
                found.append(name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the committed files differ")
    parser.add_argument("--image", type=Path, metavar="FILE", help="only write the contracts as a descriptor set")
    arguments = parser.parse_args()
    if arguments.image:
        image(arguments.image)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        changed = differences(fresh)
        if arguments.check:
            for name in changed:
                print(f"shared/generated/{name} differs from proto/; run: make proto", file=sys.stderr)
            return 1 if changed else 0
        for package in PACKAGES:
            shutil.rmtree(GENERATED / package, ignore_errors=True)
            shutil.copytree(fresh / package, GENERATED / package)
    print(f"generated {len(contract_files())} contracts, {len(changed)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
