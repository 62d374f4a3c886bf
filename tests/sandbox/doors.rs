//! Doors to other processes: sockets, `/proc`, signals, control groups, what outlives a command. Everything is let
//! through to the sandbox here.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::{CANARY, World};

/// A process outside that must go on as it is, with a secret in its environment.
struct Neighbour(duct::Handle);

impl Neighbour {
    fn start() -> Self {
        let environment = [("NEIGHBOUR", CANARY), ("PATH", "/usr/bin:/bin")];
        Self(duct::cmd!("sleep", "1000").full_env(environment).stdin_null().unchecked().start().unwrap())
    }

    fn lives(&self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().ok();
    }
}

/// Whether any process has this argument.
fn is_running(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

#[tokio::test]
async fn other_processes_are_out_of_reach() {
    let Some(mut world) = World::new() else { return };
    let neighbour = Neighbour::start();
    let (pid, own) = (neighbour.0.pids()[0], std::process::id());
    let name = world.root.path().file_name().unwrap().to_str().unwrap().to_owned();
    let abstract_socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let path = world.path("codex/agent.sock");
    let named = UnixListener::bind(&path).unwrap();
    for socket in [&abstract_socket, &named] {
        socket.set_nonblocking(true).unwrap();
    }
    world.set("SSH_AUTH_SOCK", &path);
    world.set("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", path.display()));
    world.set("DOCKER_HOST", format!("unix://{}", path.display()));
    let connect = |address: &str| {
        format!(
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect({address}); print(\"rea\" + \"ched\")'"
        )
    };
    // Names that a search for processes finds, and that the lines that look for them do not hold.
    let (stays, stays_too) = (format!("98{own}"), format!("97{own}"));
    let lines = [
        connect(&format!("\"{}\"", path.display())),
        connect(&format!("\"\\0{name}\"")),
        connect("\"/var/run/docker.sock\""),
        "ssh-add -l; docker ps; busctl --user list; gdbus call --session -d x -o / -m x.y; echo done".to_owned(),
        format!("for p in {pid} {own} 1 $PPID; do cat /proc/$p/environ /proc/$p/root/etc/shadow; ls /proc/$p/root{}; done", world.path("codex").display()),
        format!("cat /proc/{pid}/mem /proc/{own}/maps; ls -l /proc/{own}/fd /proc/{own}/cwd/; cat /proc/*/root{}/auth.json", world.path("codex").display()),
        format!("python3 -c 'import ctypes; l=ctypes.CDLL(None); print([l.ptrace(16,p,0,0) for p in ({pid},{own})])'"),
        format!("gdb -p {pid} -batch; strace -p {pid}; nsenter -t {pid} -m -p true && echo rea''ched"),
        format!("kill -9 {pid} {own} $PPID; kill -9 -1; pkill -9 sleep; killall -9 sleep"),
        format!("renice -n 19 {pid}; taskset -p 1 {pid}; prlimit --pid {pid} --nproc=1; chrt -i -p 0 {pid}"),
        "for g in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $g/escaped; echo $$ > $g/cgroup.procs; echo 1 > $g/cgroup.kill; done; cat /proc/self/cgroup".to_owned(),
        "echo 1 > /proc/sys/kernel/core_pattern; echo x > /proc/self/oom_score_adj; echo b > /proc/sysrq-trigger; cat /dev/mem /dev/kmsg".to_owned(),
        "ls -la /dev; mknod disk b 8 0; mount -t proc p /mnt; unshare -Urm mount -t tmpfs t /mnt; chroot / true".to_owned(),
        "python3 -c 'import ctypes; l=ctypes.CDLL(None,use_errno=True); print([(n, l.syscall(n,0,0,0,0,0)) for n in (250,248,321,323,425,310,311)])'".to_owned(),
        format!("(setsid sh -c 'sleep {stays} & sleep {stays}' &) ; nohup setsid sleep {stays} >/dev/null 2>&1 & disown; echo left"),
        format!("python3 -c 'import os,sys\nif os.fork()==0:\n os.setsid()\n if os.fork()==0:\n  for f in (0,1,2): os.close(f)\n  os.execlp(\"sleep\",\"sleep\",\"{stays_too}\")\n os._exit(0)'; echo left"),
        "ln ~/.netrc hard; ln -s /proc/1/root soft; cat hard soft/etc/shadow; ln ../../../config hard2; cat hard2".to_owned(),
        "python3 -c 'import ctypes,os; l=ctypes.CDLL(None); f=l.inotify_init(); print(l.inotify_add_watch(f, b\"/root\", 0xfff), l.fanotify_init(0,0))'".to_owned(),
    ];
    world.plant("codex/auth.json");
    world.plant("home/.netrc");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (server, result) = world.turn(&lines).await;
    result.unwrap();
    let outputs = crate::told(&server, lines.len());
    for (line, output) in lines.iter().zip(&outputs) {
        assert!(!output.contains(CANARY) && !output.contains("reached"), "{line}\n{output}");
        assert!(
            !output.contains("root:*") && !output.contains("root:$") && !output.contains("root:!"),
            "{line}\n{output}"
        );
    }
    assert!(abstract_socket.accept().is_err() && named.accept().is_err(), "{outputs:#?}");
    assert!(neighbour.lives(), "{outputs:#?}");
    for argument in [&stays, &stays_too] {
        assert!(!is_running(argument), "a process outlived the turn");
    }
    assert!(!std::path::Path::new("/sys/fs/cgroup/escaped").exists());
    assert_eq!(outputs.iter().filter(|output| output.contains("left")).count(), 2, "{outputs:#?}");
}
