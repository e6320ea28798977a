"""What kind of file system a path is on."""

from pathlib import Path

from inhaul import _core

# `f_type` of statfs(2), from linux/magic.h and the sources of the file systems that are not in it.
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x00C36400: "CephFS",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x01021997: "9p",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x19830326: "BeeGFS",
    0x20030528: "OrangeFS",
    0x65735546: "FUSE",
}


def network_filesystem(path: Path) -> str | None:
    """Names the file system that an existing path is on, when other machines may have it mounted too.

    FUSE counts as one: it serves sshfs, s3fs and GlusterFS, and a local disk seldom.

    Raises:
        OSError: The path cannot be looked at.
    """
    return _NETWORK.get(_core.filesystem_magic(path) & 0xFFFFFFFF)
