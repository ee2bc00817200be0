/**
 * A disk that says after each change what it was: where a crash may come.
 */
import type { Disk, DiskFile } from '../../../src/core/base/env.ts';

export function hookedDisk(disk: Disk, onChange: (what: string) => void): Disk {
  const hookedFile = (file: DiskFile, path: string): DiskFile => ({
    get fd() {
      return file.fd;
    },
    read: (into, offset, length, position) => file.read(into, offset, length, position),
    size: () => file.size(),
    close: () => file.close(),
    write: (bytes, position) => {
      file.write(bytes, position);
      onChange(`write ${path}`);
    },
    fdatasync: () => {
      file.fdatasync();
      onChange(`fdatasync ${path}`);
    },
    truncate: (bytes) => {
      file.truncate(bytes);
      onChange(`truncate ${path}`);
    },
  });
  return {
    open: (path, mode) => {
      const file = hookedFile(disk.open(path, mode), path);
      if (mode === 'create') onChange(`create ${path}`);
      return file;
    },
    mkdir: (path) => disk.mkdir(path),
    list: (path) => disk.list(path),
    exists: (path) => disk.exists(path),
    rename: (from, to) => {
      disk.rename(from, to);
      onChange(`rename ${from}`);
    },
    link: (from, to) => {
      disk.link(from, to);
      onChange(`link ${from}`);
    },
    remove: (path) => {
      disk.remove(path);
      onChange(`remove ${path}`);
    },
    syncDir: (path) => {
      disk.syncDir(path);
      onChange(`syncDir ${path}`);
    },
  };
}
