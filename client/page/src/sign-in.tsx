// Where the server hands out no tokens: one is pasted. It is kept in memory and gone with the page.

import { useId, useState } from 'react';

export function SignIn({ choose }: { choose: (token: string | null) => void }) {
  const [text, setText] = useState('');
  const field = useId();
  const token = text.trim();
  const isToken = /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token);
  return (
    <main className="alone">
      <img src="/page/icon.svg" alt="" width="48" height="48" />
      <h1>shopwire</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isToken) choose(token);
        }}
      >
        <label htmlFor={field}>Token</label>
        <textarea
          id={field}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            // A token has one line: Enter does what it does in a field of one.
            if (event.key !== 'Enter') return;
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }}
          rows={4}
          spellCheck={false}
          autoComplete="off"
          aria-describedby={`${field}-hint`}
          aria-invalid={token !== '' && !isToken}
        />
        <p id={`${field}-hint`} className="hint">
          {token !== '' && !isToken ? (
            'This is no JWT: three parts of letters, digits, - and _, joined by dots.'
          ) : (
            <>
              A JWT that this server accepts. It stays in this page’s memory and is gone with it. <code>shopwire token</code> makes one.
            </>
          )}
        </p>
        <div className="buttons">
          <button type="submit" className="primary" disabled={!isToken}>
            Sign in
          </button>
          <button type="button" onClick={() => choose(null)}>
            Look as the public
          </button>
        </div>
      </form>
    </main>
  );
}
