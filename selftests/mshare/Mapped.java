// SPDX-License-Identifier: GPL-2.0
/*
 * What selftests/mshare/files.sh has Java do with files, by FileChannel.map():
 *	make PATH BYTES		a file with numbers in it
 *	read PATH		when it gets a line it reads all, prints a checksum, the bytes of
 *				page tables and the page faults that took, and waits for the
 *				end of its input
 *	write PATH PART PARTS	one of several writers
 *	count PATH		counts upwards in all of the file, for ever
 *	check PATH		is it what counting leaves, also if it was stopped?
 *	truncated PATH		what an access beyond the end of a shorter file throws
 */
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32;

public class Mapped {
	private static final long FACTOR = 0x9e3779b97f4a7c15L;

	private static MappedByteBuffer map(String path, boolean write, long length) throws IOException {
		try (RandomAccessFile file = new RandomAccessFile(path, write ? "rw" : "r")) {
			if (length > 0)
				file.setLength(length);
			MapMode mode = write ? MapMode.READ_WRITE : MapMode.READ_ONLY;
			MappedByteBuffer map = file.getChannel().map(mode, 0, file.length());
			map.order(ByteOrder.LITTLE_ENDIAN);
			return map;
		}
	}

	/* The bytes of page tables of this process and its page faults so far. */
	private static long[] costs() throws IOException {
		long tables = 0;
		for (String line : Files.readAllLines(Path.of("/proc/self/status")))
			if (line.startsWith("VmPTE:"))
				tables = Long.parseLong(line.split("\\s+")[1]) * 1024;
		String stat = Files.readAllLines(Path.of("/proc/self/stat")).get(0);
		String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
		return new long[] { tables, Long.parseLong(fields[7]) + Long.parseLong(fields[9]) };
	}

	private static long checksum(MappedByteBuffer map) {
		CRC32 crc = new CRC32();
		crc.update(map.rewind());
		return crc.getValue();
	}

	private static void make(String path, long size) throws IOException {
		MappedByteBuffer map = map(path, true, size);
		for (int at = 0; at < map.limit(); at += 8)
			map.putLong(at, at / 8 * FACTOR);
		map.force();
	}

	private static void read(String path) throws IOException {
		/* Not what the virtual machine needs for this, when it is done the first time. */
		Path small = Files.createTempFile("mapped", null);
		Files.write(small, new byte[65536]);
		checksum(map(small.toString(), false, 0));
		Files.delete(small);
		costs();
		System.out.println("loaded");
		while (System.in.read() > '\n')
			;
		long[] before = costs();
		MappedByteBuffer map = map(path, false, 0);
		long sum = checksum(map);
		long[] after = costs();
		System.out.println(sum + " " + (after[0] - before[0]) + " " + (after[1] - before[1]));
		while (System.in.read() >= 0)
			;
		map.get(0);
	}

	private static void write(String path, int part, int parts) throws IOException {
		MappedByteBuffer map = map(path, true, 0);
		int length = map.limit() / 8 / parts * 8;
		for (int at = part * length; at < (part + 1) * length; at += 8)
			map.putLong(at, map.getLong(at) ^ (part + 1));
		map.force(part * length, length);
	}

	private static void count(String path) throws IOException {
		MappedByteBuffer map = map(path, true, 0);
		System.out.println("ready");
		for (;;)
			for (int at = 0; at < map.limit(); at += 8)
				map.putLong(at, map.getLong(at) + 1);
	}

	/* Each of three writers that were killed has left one step down, at most. */
	private static boolean check(String path) throws IOException {
		MappedByteBuffer map = map(path, false, 0);
		long steps = 0, last = map.getLong(0);
		if (last <= 0)
			return false;
		for (int at = 8; at < map.limit(); at += 8) {
			long step = last - map.getLong(at);
			if (step < 0)
				return false;
			steps += step;
			last -= step;
		}
		byte[] all = new byte[map.limit()];
		map.rewind().get(all);
		return steps <= 3 && Arrays.equals(all, Files.readAllBytes(Path.of(path)));
	}

	private static void truncated(String path) throws IOException {
		MappedByteBuffer map = map(path, true, 0);
		int last = map.limit() - 1;
		System.out.println(map.get(last));
		try (RandomAccessFile file = new RandomAccessFile(path, "rw")) {
			file.setLength(4096);
		}
		try {
			System.out.println(map.get(last));
		} catch (InternalError error) {
			System.out.println("InternalError");
		}
		System.out.println(map.get(0));
	}

	public static void main(String[] args) throws IOException {
		switch (args[0]) {
		case "make":
			make(args[1], Long.parseLong(args[2]));
			break;
		case "read":
			read(args[1]);
			break;
		case "write":
			write(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
			break;
		case "count":
			count(args[1]);
			break;
		case "check":
			System.exit(check(args[1]) ? 0 : 1);
			break;
		case "truncated":
			truncated(args[1]);
			break;
		default:
			System.exit(2);
		}
	}
}
