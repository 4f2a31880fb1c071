//! What a container uses: the body of its statistics.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// What a container used until a moment.
    pub struct ContainerStats {
        /// Name, with a slash in front.
        name: String = "name" omitempty,
        /// Id.
        id: String = "id" omitempty,
        /// Always `linux`; newer clients alone are told.
        os_type: String = "os_type" omitempty,
        /// When it was read (RFC 3339).
        read: String = "read",
        /// When the figures before these were read.
        preread: String = "preread",
        /// Processes and threads.
        pids_stats: PidsStats = "pids_stats",
        /// Block devices.
        blkio_stats: BlkioStats = "blkio_stats",
        /// Processors of a Windows host.
        num_procs: u32 = "num_procs",
        /// Storage of a Windows host.
        storage_stats: StorageStats = "storage_stats",
        /// Processor time.
        cpu_stats: CpuStats = "cpu_stats",
        /// Processor time at the reading before.
        precpu_stats: CpuStats = "precpu_stats",
        /// Memory.
        memory_stats: MemoryStats = "memory_stats",
        /// Networks, by the names of their interfaces.
        networks: BTreeMap<String, NetworkStats> = "networks" omitempty,
    }
}

wire! {
    /// Processes and threads.
    pub struct PidsStats {
        /// How many there are.
        current: u64 = "current" omitempty,
        /// How many there may be.
        limit: u64 = "limit" omitempty,
    }
}

wire! {
    /// One figure of a block device.
    pub struct BlkioEntry {
        /// Device number.
        major: u64 = "major",
        /// Device number.
        minor: u64 = "minor",
        /// What was done.
        op: String = "op",
        /// The figure.
        value: u64 = "value",
    }
}

wire! {
    /// Block devices. The fields behind the first two are of schedulers that kernels do not have any more.
    pub struct BlkioStats {
        /// Bytes.
        bytes: Option<Vec<BlkioEntry>> = "io_service_bytes_recursive",
        /// Requests.
        requests: Option<Vec<BlkioEntry>> = "io_serviced_recursive",
        /// Always null.
        queued: Option<Vec<BlkioEntry>> = "io_queue_recursive",
        /// Always null.
        service_time: Option<Vec<BlkioEntry>> = "io_service_time_recursive",
        /// Always null.
        wait_time: Option<Vec<BlkioEntry>> = "io_wait_time_recursive",
        /// Always null.
        merged: Option<Vec<BlkioEntry>> = "io_merged_recursive",
        /// Always null.
        time: Option<Vec<BlkioEntry>> = "io_time_recursive",
        /// Always null.
        sectors: Option<Vec<BlkioEntry>> = "sectors_recursive",
    }
}

wire! {
    /// Storage of a Windows host: empty here.
    pub struct StorageStats {
        /// Reads.
        read_count: u64 = "read_count_normalized" omitempty,
        /// Bytes read.
        read_size: u64 = "read_size_bytes" omitempty,
        /// Writes.
        write_count: u64 = "write_count_normalized" omitempty,
        /// Bytes written.
        write_size: u64 = "write_size_bytes" omitempty,
    }
}

wire! {
    /// Processor time.
    pub struct CpuStats {
        /// Of the container, in nanoseconds.
        cpu_usage: CpuUsage = "cpu_usage",
        /// Of the whole host, in nanoseconds, idle time included.
        system_cpu_usage: u64 = "system_cpu_usage" omitempty,
        /// Processors of the host.
        online_cpus: u32 = "online_cpus" omitempty,
        /// What a limit held back.
        throttling_data: ThrottlingData = "throttling_data",
    }
}

wire! {
    /// Processor time in nanoseconds.
    pub struct CpuUsage {
        /// All of it.
        total_usage: u64 = "total_usage",
        /// By processor, where the host counts it so.
        percpu_usage: Vec<u64> = "percpu_usage" omitempty,
        /// In the kernel.
        usage_in_kernelmode: u64 = "usage_in_kernelmode",
        /// In user mode.
        usage_in_usermode: u64 = "usage_in_usermode",
    }
}

wire! {
    /// What a limit of processor time held back.
    pub struct ThrottlingData {
        /// Periods in which processes wanted to run.
        periods: u64 = "periods",
        /// Of these, ones in which the limit was reached.
        throttled_periods: u64 = "throttled_periods",
        /// For how long, in nanoseconds.
        throttled_time: u64 = "throttled_time",
    }
}

wire! {
    /// Memory in bytes.
    pub struct MemoryStats {
        /// In use.
        usage: u64 = "usage" omitempty,
        /// The most that ever was; control groups of version 1 alone.
        max_usage: u64 = "max_usage" omitempty,
        /// What the kernel tells of it, by its names.
        stats: BTreeMap<String, u64> = "stats" omitempty,
        /// How often the limit was hit.
        failcnt: u64 = "failcnt" omitempty,
        /// The limit; the host's memory without one.
        limit: u64 = "limit" omitempty,
        /// Of a Windows host.
        commit: u64 = "commitbytes" omitempty,
        /// Of a Windows host.
        commit_peak: u64 = "commitpeakbytes" omitempty,
        /// Of a Windows host.
        private_working_set: u64 = "privateworkingset" omitempty,
    }
}

wire! {
    /// What went through one interface, seen from the container.
    pub struct NetworkStats {
        /// Bytes received.
        rx_bytes: u64 = "rx_bytes",
        /// Packets received.
        rx_packets: u64 = "rx_packets",
        /// Faults while receiving.
        rx_errors: u64 = "rx_errors",
        /// Packets that came and were dropped.
        rx_dropped: u64 = "rx_dropped",
        /// Bytes sent.
        tx_bytes: u64 = "tx_bytes",
        /// Packets sent.
        tx_packets: u64 = "tx_packets",
        /// Faults while sending.
        tx_errors: u64 = "tx_errors",
        /// Packets that were to be sent and were dropped.
        tx_dropped: u64 = "tx_dropped",
        /// Of a Windows host.
        endpoint_id: String = "endpoint_id" omitempty,
        /// Of a Windows host.
        instance_id: String = "instance_id" omitempty,
    }
}
