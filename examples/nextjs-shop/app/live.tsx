'use client';
// The one connection of all pages, and of all tabs.

import type { ReactNode } from 'react';

import { ShopwireProvider } from 'shopwire/react';
import { shareTabs } from 'shopwire/tabs';

const url = process.env.NEXT_PUBLIC_SHOPWIRE_URL ?? 'ws://127.0.0.1:3001/api/ws';
const WebSocket = shareTabs();

async function token(): Promise<string> {
  const answer = await fetch('/api/token');
  if (!answer.ok) throw new Error(`/api/token answered ${answer.status}`);
  return answer.text();
}

export function Live({ children }: { children: ReactNode }) {
  return (
    <ShopwireProvider url={url} token={token} WebSocket={WebSocket}>
      {children}
    </ShopwireProvider>
  );
}
