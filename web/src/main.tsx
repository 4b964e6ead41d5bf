import { render } from 'preact';
import { App } from './app';
import { begin } from './state/session';
import './styles/index.css';

render(<App />, document.getElementById('app')!);
void begin();
