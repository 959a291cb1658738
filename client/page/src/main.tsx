// The live page of a shopwire server.

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import '../../style.css';
import './page.css';
import './views.css';
import { App } from './app.js';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element with the id root');
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
