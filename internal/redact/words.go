package redact

import "strings"

func words(list string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(list) {
		m[w] = true
	}
	return m
}

// secretNames are keys with secret values, alone or as the last part of a longer name:
// db_password, X-Api-Key, clientSecret.
var secretNames = []string{
	"password", "passwd", "passwort", "passphrase", "passcode", "passwrd", "pwd", "pass", "pw", "psw", "pswd", "passw",
	"secret", "secrets", "token", "tokens", "credential", "credentials", "creds", "cred",
	"apikey", "api_key", "api-key", "accesskey", "access_key", "access-key", "secretkey", "secret_key", "secret-key",
	"privatekey", "private_key", "private-key", "authkey", "auth_key", "auth-key", "masterkey", "master_key", "master-key",
	"encryptionkey", "encryption_key", "encryption-key", "signingkey", "signing_key", "signing-key", "sharedkey", "shared_key",
	"shared-key", "accountkey", "account_key", "account-key", "storagekey", "storage_key", "sessionkey", "session_key",
	"subscriptionkey", "subscription_key", "subscription-key", "licensekey", "license_key", "license-key", "servicekey",
	"service_key", "deploykey", "deploy_key", "appkey", "app_key", "app-key", "functionkey", "functions_key", "functions-key",
	"consumerkey", "consumer_key", "hmackey", "hmac_key", "aeskey", "aes_key", "integration_key", "integrationkey", "routing_key",
	"routingkey", "ingestkey", "ingest_key", "writekey", "write_key", "host_key", "presharedkey", "pre_shared_key", "psk",
	"sharedaccesskey", "signature", "sessionid", "session_id", "session-id", "jsessionid", "phpsessid", "aspsessionid", "connect.sid",
	"accesstoken", "authtoken", "refreshtoken", "idtoken", "bearer_token", "jwt", "otp", "totp", "mfa_code", "recovery_code", "cvv", "cvc",
	"mnemonic", "seed_phrase", "assertion", "client_assertion", "sharedaccesssignature", "webhook_url", "keypass", "storepass",
	"passin", "passout", "community", "userpassword", "authenticator", "sas", "csrf", "xsrf", "rootpw", "bindpw", "basicauth", "basic_auth",
	"code_verifier", "device_code", "requirepass", "masterauth", "auth_code", "secretaccesskey", "nonce_secret", "unlock_key",
	"sonar.login", "sonar_login", "bundle_enterprise__contribsys__com", "bundle_gems__contribsys__com",
	"samlresponse", "samlrequest", "application-key", "application_key", "dd-application-key", "secret_id", "secret-id", "secretid", "id_token_hint",
	// as operators and their tools write it in other languages
	"contraseña", "contrasena", "clave", "claves", "senha", "palavra-passe", "motdepasse", "mot_de_passe", "mdp", "passe", "kennwort", "geheimnis",
	"zugangscode", "wachtwoord", "geheim", "lösenord", "losenord", "passord", "adgangskode", "salasana", "hasło", "haslo", "heslo", "jelszó", "jelszo",
	"parola", "şifre", "sifre", "лозинка", "пароль", "пароля", "секрет", "κωδικός", "slaptažodis", "parole", "lozinka", "geslo", "mật_khẩu", "סיסמה",
	"گذرواژه", "كلمةالسر", "รหัสผ่าน", "secreto", "segredo", "jeton", "ключ", "токен",
}

var secretNameSet = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range secretNames {
		m[n] = true
	}
	return m
}()

// secretParts are ends of longer names with secret values.
var secretParts = []string{
	"password", "passwd", "passphrase", "passwort", "pwd", "secret", "token", "apikey", "api_key", "api-key", "credential", "credentials",
	"accesskey", "access_key", "access-key", "secretkey", "secret_key", "secret-key", "privatekey", "private_key", "private-key", "signature",
	"_key_base", "accountkey", "sharedkey", "signingkey", "signing_key", "encryption_key", "encryptionkey", "authkey", "auth_key", "auth-key",
	"_pass", "-pass", ".pass", "_pw", "_pwd", "_psk", "sessionid", "session_id", "session-id", "subscription-key", "functions-key", "master_key",
	"masterkey", "secretaccesskey", "_secrets", "_tokens", "contraseña", "contrasena", "_clave", "senha", "pgpassword", "_auth", "salasana",
	"pass", "app_key", "app-key", "appkey", "license_key", "service_key", "shared_key", "session_key", "_dsn", "webhook_url", "_cookie", "storepass", "keypass",
}

// secretEndings are secretParts by their last byte.
var secretEndings = func() (m [256][]string) {
	for _, p := range secretParts {
		m[p[len(p)-1]] = append(m[p[len(p)-1]], p)
	}
	return m
}()

// plainNames end like secret names, but have public values.
var plainNames = words(`max_tokens total_tokens prompt_tokens completion_tokens num_tokens nexttoken next_token page_token pagetoken next_page_token
	continuationtoken continuation_token tokenizer public_key publickey bypass compass encompass surpass trespass overpass underpass all-pass high-pass low-pass first-pass primary_key foreign_key partition_key sort_key cache_key object_key dedup_key incident_key lock_key row_key
	shard_key range_key message_key event_key record_key group_key unique_key cachekey objectkey dedupkey lockkey rowkey routing-key bypass compass
	change_password reset_password set_password forgot_password update_password no_password invalid_token idempotency_key idempotency-key
	token.go password.go secret.go auth.go credentials.go secret.yaml .pass`)

func secretKey(word string) bool {
	if word == "" || len(word) > 80 {
		return false
	}
	if plainNames[word] || strings.HasSuffix(word, ".go") {
		return false
	}
	if secretNameSet[word] {
		return true
	}
	bare := strings.TrimRight(word, "0123456789")
	if bare != word {
		if bare = strings.TrimRight(bare, "_-."); secretNameSet[bare] {
			return true
		}
	}
	if bare == "" {
		return false
	}
	for _, p := range secretEndings[bare[len(bare)-1]] {
		if strings.HasSuffix(bare, p) && len(bare) > len(p) {
			return true
		}
	}
	if hasHighByte(word) {
		for _, p := range []string{"密码", "密碼", "口令", "秘密", "パスワード", "暗証番号", "トークン", "비밀번호", "암호", "令牌", "密钥", "пароль", "สรหัส"} {
			if strings.Contains(word, p) {
				return true
			}
		}
	}
	return false
}

func headerKey(word string) bool {
	switch word {
	case "authorization", "proxy-authorization", "x-authorization", "cookie", "set-cookie", "cookies", "x-forwarded-authorization", "www-authorization", "authentication":
		return true
	}
	return false
}

var schemeWords = words(`bearer basic digest token apikey negotiate ntlm hmac sharedkey sharedaccesssignature aws4-hmac-sha256 oauth genie-key
	splunk snowflake dpop genieapikey`)

var cryptoCalls = words(`pgp_sym_encrypt pgp_sym_decrypt aes_encrypt aes_decrypt crypt old_password sha2 hmac dblink_connect encrypt decrypt`)

// plainValue reports whether a value is a placeholder or a switch.
func plainValue(v string) bool {
	switch lower(strings.Trim(v, `"'.,;:()<>[]{} `)) {
	case "", "yes", "no", "true", "false", "null", "nil", "none", "***", "****", "*****", "redacted", "hidden", "masked", "xxxxx", "xxx", "empty", "unset", "undefined", "required", "missing":
		return true
	}
	return strings.Trim(v, "*•x. ") == ""
}

// harmless reports whether the first word of a value is a word of error messages. Then the
// value is no secret.
func harmless(v string) bool {
	if v == "" {
		return true
	}
	first := v
	if i := strings.IndexAny(v, " \t\n"); i > 0 {
		first = v[:i]
	}
	first = lower(strings.Trim(first, `"'.,;:!?()<>[]{}`+"`"))
	if first == "" {
		return true
	}
	if vocabulary[first] {
		return true
	}
	// crypto/bcrypt: … and rpc.Dial: the package that reports the error
	head, tail, ok := strings.Cut(first, "/")
	if ok && packages[head] && !strings.ContainsAny(tail, "0123456789") || ok && vocabulary[head] && vocabulary[tail] {
		return true
	}
	return strings.Contains(first, "_") && secretKey(strings.TrimSuffix(first, "_id")) // the name of another secret
}

var packages = words(`crypto net encoding database golang.org github.com math os io text html internal asn1 x509 pkcs12 pkcs8 pkcs7 pem jwt jwk jws jose oidc
	oauth2 http http2 sha1 sha256 md5 hmac ed25519 ecdsa rsa aes cipher chacha20poly1305 base64 base32 hex json yaml toml xml csv ssh tls dns smtp imap ldap
	sql pq pgx mysql sqlite3 redis mongo kafka nats amqp s3 ec2 sts iam kms googleapi rpc grpc vault consul gpg age exec signal driver`)

var vocabulary = words(`a able about above accepted access account acquired action add added address after again against algorithm all allowed already
	also an and another any api are argument as ask at attempt attribute audience auth authenticate authenticated authentication authenticator authority
	authorization authorized bad be because been before being between both but by cached call called cancelled canceled cannot can't certificate change
	changed channel character characters check checked claim claims client code config configuration configured connect connection contain contains
	context could couldn't create created credential credentials crypto/bcrypt current data database deadline decode decoded decoding decrypt default
	deleted denied deny did didn't different digits disabled dial do does doesn't done due each either else empty enabled encrypted endpoint enter entry eof
	error errors exceeded exchange exist exists expect expected expire expired expires expiring expiry failed fails failure fetch field file for forbidden
	format found from generated get given got granted grant had has hash hashes have header hex http https identity if ignored illegal in inactive incomplete
	incorrect inside instead insufficient integer internal invalid io is isn't issued issuer it its json jwt key keys kid known last leaked left length less lease
	limit limits literal lookup login longer lost malformed manager match matched matches may memory metadata method mismatch missing mode module more most must
	name need needs needed neither never new next no non-empty none nonce nor not nothing null number obtained of off ok old on only open operation option or
	other out outdated owner parse parser parsing path pattern pending per permission permissions policy post present previous profile prompt protected
	provided provider put query rate read reading reason received refresh refreshed refused rejected release remote renew renewed renewal repeated replaced
	request requested requests required requires reset resource response retry revoke revoked role rotated rotating rotation rpc scope scopes secret secrets seems
	server service session set settings shall short should sign signature signed signing since size so some space start store stored string supplied support
	supported symbol syntax system taken temporary than that the their then there they this time timed timeout tls to token tokens too type unable unauthenticated
	unauthorized unavailable undefined unexpected unknown unless unmarshal unset unsupported until up update updated upper url use used user username uses
	using valid validate validated validation value values vault verification verified verify via wait was wasn't weak were when where which while will with
	without write writing wrong x509 yaml yes yet you your zero crypto net os bad-request not-found n/a eoa exhausted digest realm required; login-path
	characters; uppercase lowercase letter letters symbols minimum maximum least bits bytes kb prompted length; complexity history reuse reused expires_in scanning
	plugin mysql_native_password caching_sha2_password sha256_password scram-sha-256 scram md5 plain ldap pam peer trust reject cert gss sspi radius
	read-only password passwords dial stat lstat mkdir rename remove unlink chmod listen exit signal status fork exec i o rows quota exhausted origin referer passphrase nothing clock java
	converting protection prompting encryption hashing based rules in-use locked empty pad entry flag unlock
	abgelaufen falsch ungültig gesperrt fehlt fehlerhaft zurückgesetzt erforderlich incorrecte invalide expiré manquant requis erroné expirada incorreta inválida vazia obligatoria
	vencida vencido caducada caducado incorrecta incorrecto inválida inválido falta faltan falló requerida requerido no es expirada expirado rechazada`)

// commandOf returns the command in the text whose short flags carry passwords, or "".
func commandOf(low string) string {
	first := len(commands)
	for i := 0; i < len(low); i++ {
		if i > 0 && isAlnum(low[i-1]) {
			continue
		}
		for _, n := range commandsBy[low[i]] {
			if c := commands[n]; n < first && strings.HasPrefix(low[i:], c) && (i+len(c) == len(low) || !isAlnum(low[i+len(c)])) {
				first = n
			}
		}
	}
	if first == len(commands) {
		return ""
	}
	return commands[first]
}

// commandsBy are the indexes of commands by their first byte.
var commandsBy = func() (m [256][]int) {
	for n, c := range commands {
		m[c[0]] = append(m[c[0]], n)
	}
	return m
}()

// commands in the order in which they are preferred.
var commands = []string{
	"mysqldump", "mysqladmin", "mysqlimport", "mariadb-dump", "mariadb-admin", "mariadb", "mysql", "sshpass", "redis-cli", "ldapsearch", "ldapmodify", "ldapwhoami",
	"psexec", "useradd", "usermod", "ipmitool", "curl", "smbclient", "zip", "unzip", "7z", "7za", "sqlcmd", "bcp", "mongo", "mongosh", "mongodump", "mongorestore", "docker login", "podman login", "helm registry login", "az login", "htpasswd",
	"openssl", "snmpwalk", "snmpget", "mosquitto_pub", "mosquitto_sub", "lftp", "ftp", "cqlsh", "clickhouse-client", "rabbitmqadmin", "xfreerdp", "net use", "ansible-vault", "wget",
}

// shortFlag reports whether a flag of a command carries a secret.
func shortFlag(command, flag, low string) bool {
	switch command {
	case "mysqldump", "mysqladmin", "mysqlimport", "mariadb-dump", "mariadb-admin", "mariadb", "mysql", "7z", "7za":
		return flag[0] == 'p' && len(flag) > 1 && low != "password" && low != "port" && low != "protocol" && low != "p" && !strings.HasPrefix(low, "print") || flag == "p" && command[0] == '7'
	case "docker login", "podman login", "helm registry login", "az login":
		return flag == "p"
	case "psexec", "useradd", "usermod", "sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "cqlsh", "rabbitmqadmin":
		return flag == "p"
	case "redis-cli":
		return flag == "a"
	case "ldapsearch", "ldapmodify", "ldapwhoami":
		return flag == "w"
	case "curl", "lftp", "ftp":
		return flag == "u" || flag == "U" || flag == "b"
	case "smbclient":
		return flag == "U"
	case "ipmitool", "zip", "unzip", "sqlcmd", "bcp", "mosquitto_pub", "mosquitto_sub":
		return flag == "P"
	case "snmpwalk", "snmpget":
		return flag == "c" || flag == "A" || flag == "X"
	case "openssl":
		return flag == "k" || flag == "K"
	case "xfreerdp":
		return flag == "p" || low == "p"
	case "net use":
		return low == "user"
	case "htpasswd":
		return strings.Contains(flag, "b")
	}
	return false
}

// flagValue returns the argument of a short flag, attached or after a space.
func flagValue(text string, i, j int, command string, work *effort) (span, bool) {
	attached := strings.HasPrefix(command, "m") || strings.HasPrefix(command, "7")
	if j-i == 1 && j < len(text) && (text[j] == '\'' || text[j] == '"') { // -p'…'
		return valueAt(text, j, false, false)
	}
	if attached && j-i > 1 {
		end := wordRun(text, i)
		return span{i + 1, trimEnd(text, i+1, end)}, true
	}
	k := j
	for k < len(text) && (text[k] == ' ' || text[k] == '=' || text[k] == ':') {
		k++
	}
	if k == j || k >= len(text) || text[k] == '-' {
		return span{}, false
	}
	if command == "htpasswd" { // -b FILE USER PASSWORD
		fields := strings.Fields(work.line(text, k))
		if len(fields) < 3 {
			return span{}, false
		}
		at := k + strings.Index(text[k:], fields[2])
		return span{at, wordRun(text, at)}, true
	}
	return valueAt(text, k, false, false)
}
