// The other end of a terminal: a small shell that echoes what is typed and knows a few words.

export function attachTerminal(ws, world, entry, url) {
  const { domain } = entry;
  const exec = url.pathname.endsWith('/exec');
  const command = url.searchParams.getAll('command');
  let size = [80, 24];
  let line = '';
  const write = (text) => ws.send(Buffer.from(text));
  const prompt = () => write(`\x1b[1;34m${exec ? '' : `root@${domain.name}`}\x1b[0m${exec ? '/ #' : ':~#'} `);
  const exit = (code) => {
    ws.send(JSON.stringify({ exit: code }));
    ws.close();
  };

  const words = {
    help: () => 'echo, size, colours, date, hostname, exit',
    size: () => `${size[0]} columns, ${size[1]} rows`,
    hostname: () => domain.name,
    date: () => new Date().toUTCString(),
    colours: () => [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `\x1b[3${n}m colour ${n} \x1b[9${n}m bright \x1b[0m`).join('\r\n'),
  };
  const run = (text) => {
    const [word, ...rest] = text.trim().split(/\s+/);
    if (!word) return prompt();
    if (word === 'exit') return exec ? exit(Number(rest[0] ?? 0)) : prompt();
    if (word === 'drop') return ws.terminate();
    const output = word === 'echo' ? rest.join(' ') : words[word]?.() ?? `${word}: not found`;
    write(`${output}\r\n`);
    prompt();
  };

  ws.on('message', (data, binary) => {
    if (!binary) {
      const { resize } = JSON.parse(data.toString());
      if (resize) size = resize;
      return;
    }
    for (const c of data.toString()) {
      if (c === '\r') {
        write('\r\n');
        const text = line;
        line = '';
        run(text);
      } else if (c === '\x7f') {
        if (line) write('\b \b');
        line = line.slice(0, -1);
      } else if (c === '\x03') {
        write('^C\r\n');
        line = '';
        prompt();
      } else if (c >= ' ') {
        line += c;
        write(c);
      }
    }
  });
  const ended = ({ kind, domain: name }) => { if (name === domain.name && (kind === 'stopped' || kind === 'removed')) exit(0); };
  world.on('event', ended);
  ws.on('close', () => world.off('event', ended));

  if (exec && command[0] !== '/bin/sh' && command[0] !== 'sh') {
    write(`${command.join(' ')}\r\n`);
    return exit(0);
  }
  if (!exec) write(entry.log.map((l) => `${l.text}\r\n`).join(''));
  prompt();
}
