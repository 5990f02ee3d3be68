"""Runs a Python command as a fork of a process that has the stack loaded (``runs/warm_server.py``).

    python -S warm_client.py SOCKET [OPTION ...] (SCRIPT | -m MODULE | -c CODE) [ARGUMENT ...]

The command gets this process's arguments, environment, working folder and open files, and ends as it would have ended
without: same exit status, SIGTERM and SIGINT passed on, killed when this process is killed. What the server loaded is
right only for the variables that it loaded it with: with others the command starts cold. The interpreter's options
count only then.

This file imports the standard library alone and is run by its path, since starting fast is all that it is for.
"""

import json
import os
import signal
import socket
import struct
import sys

# Read when Python or a library of the stack is loaded; a command for which one of them differs starts cold. What the
# loader of the system reads (LD_PRELOAD, which vLLM sets for speed on many cores) has no effect on a fork.
READ_AT_IMPORT = ("PYTHONPATH", "PYTHONHASHSEED", "DS_", "OMP_", "MKL_", "TORCH_", "TORCHDYNAMO_", "HF_")
SOCKET = "MARGE_WARM_START"  # the variable that names the server's socket, where there is a server
PYTHON = "_python"  # what follows the socket's name in that of an interpreter whose commands begin loaded


def warmed(command, environment):
    """The command of this Python and a module or script, so that it begins with what the server has loaded."""
    python, *rest = command
    if SOCKET not in environment or python != sys.executable:
        return list(command)
    # -S: nothing of the environment's packages is needed to ask for a fork.
    return [python, "-S", os.path.abspath(__file__), environment[SOCKET], *rest]


def read_at_import(environment):
    """The variables that libraries read when they are loaded."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:  # the folder that was listed
        return False
    return True


def send(connection, message):
    """A JSON message after its length in 4 bytes."""
    data = json.dumps(message).encode()
    connection.sendall(struct.pack("!I", len(data)) + data)


def receive(connection):
    """The next message; None when the other side is gone."""
    header = _exactly(connection, 4)
    data = header and _exactly(connection, struct.unpack("!I", header)[0])
    return json.loads(data) if data else None


def _exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def without_options(command):
    """The command from its script, -m or -c on."""
    start = next(i for i, word in enumerate(command) if not word.startswith("-") or word in ("-m", "-c"))
    return command[start:]


def start(connection, path, command):
    """What the server answers: the ``pid`` of the fork, or why the command has to start ``cold``."""
    files = [number for number in map(int, os.listdir("/proc/self/fd")) if number != connection.fileno()]
    files = [number for number in files if _is_open(number)]
    request = {"argv": without_options(command), "files": files, "folder": os.getcwd()}
    try:
        connection.connect(path)
        socket.send_fds(connection, [b"f"], files)
        send(connection, request | {"environment": dict(os.environ)})
        return receive(connection) or {"cold": "the server is gone"}
    except OSError as e:
        return {"cold": str(e)}


def main(argv):
    path, command = argv[0], argv[1:]
    with socket.socket(socket.AF_UNIX) as connection:
        started = start(connection, path, command)
        if "cold" in started:
            print(f"warm_client: {started['cold']}; {' '.join(command)[:80]} starts cold", file=sys.stderr, flush=True)
            os.execv(sys.executable, [sys.executable, *command])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os.kill(started["pid"], number))
        ended = receive(connection) or {"signal": signal.SIGKILL}  # with the server its forks die
    if ended["signal"]:
        if ended["signal"] != signal.SIGKILL:
            signal.signal(ended["signal"], signal.SIG_DFL)
        os.kill(os.getpid(), ended["signal"])
    return ended["status"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
