import type { Metadata } from 'next';
import type { ReactNode } from 'react';

import 'shopwire/style.css';

import { Live } from './live';

export const metadata: Metadata = { title: 'Shop' };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <Live>{children}</Live>
      </body>
    </html>
  );
}
